"""What a publication costs after many others, and what all of them take on disk.

    python -m benchmarks.growth [200]

One product gets 20 new events each time. The figures are CPU seconds of landing and of a run, in
one process, so that imports do not hide what grows.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meshhouse.engines import engine
from meshhouse.events import event_log, open_source
from meshhouse.landing.land import land
from meshhouse.maintenance import keep_short
from meshhouse.repository import Repository
from meshhouse.runs.run import run_domain
from tests.support.tiny import copy_tiny

EARLY = 25
"""The publication with which the last one is compared."""
_AROUND = 5
"""Publications before the compared one whose median counts, the compared one included."""
_EVENTS = 20


@dataclass(frozen=True)
class Growth:
    """CPU seconds early and late, and the size of the mesh's home at the end."""

    early: float
    late: float
    megabytes: float


def growth(publications: int) -> Growth:
    """Publishes a product many times.

    Args:
        publications: how many times; more than `EARLY`.
    """
    if publications <= EARLY:
        raise ValueError(f"Fewer than {EARLY + 1} publications show no growth.")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seconds = list(_seconds(root, publications))
        files = [each.stat() for each in (root / ".mesh").rglob("*") if each.is_file()]
        # Runs share the file of an equal manifest.
        size = sum({each.st_ino: each.st_size for each in files}.values())
    early = statistics.median(seconds[EARLY - _AROUND : EARLY])
    return Growth(early, statistics.median(seconds[-_AROUND:]), size / 1e6)


def _seconds(root: Path, publications: int) -> Iterator[float]:
    """CPU seconds of each landing and run."""
    copy_tiny(root)
    for each in (root / "domains/shop/models/products").glob("totals*"):
        each.unlink()
    declared = root / "domains/shop/models/products/orders.yml"
    declared.write_text(declared.read_text().partition("unit_tests:")[0])
    os.environ |= {"MESH_ROOT": str(root), "DBT_PROFILES_DIR": str(root / "profiles")}
    log = event_log(root / ".mesh")
    log.create_topic("shop.sales", 1)
    for number in range(publications):
        sales = range(number * _EVENTS, (number + 1) * _EVENTS)
        log.append_events("shop.sales", [(b"1", _sale(each), 0, []) for each in sales], "measured")
        before = _cpu()
        _publish(root)
        yield _cpu() - before


def _publish(root: Path) -> None:
    """What `mesh run shop` does, without Dagster."""
    repository = Repository(root)
    own, domain = engine(repository), repository.domain("shop")
    for raw in domain.raw_tables:
        land(open_source(root, root / ".mesh"), own.store, raw)
    run = run_domain(repository, own, domain)
    if run.outcome != "published":
        raise RuntimeError(f"The run was {run.outcome}: {run.message}")
    if own.lake is not None:
        keep_short(own.lake, ["shop.orders", "shop_raw.sales"])


def _sale(number: int) -> bytes:
    sale = {"sale_id": number, "customer_id": 1, "amount": 1.5, "sold_at": "2017-01-01T12:00:00Z"}
    return json.dumps(sale).encode()


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    found = growth(asked)
    print(f"publication {EARLY}: {found.early:.2f} CPU s; publication {asked}: {found.late:.2f}")
    print(f"ratio {found.late / found.early:.2f}; .mesh {found.megabytes:.1f} MB")
