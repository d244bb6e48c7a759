"""`make bench`: the table "Landing and runs" of benchmarks/README.md, in one run."""

from __future__ import annotations

import os
import platform

from rich.console import Console
from rich.table import Table

from benchmarks.landing import landing_rate
from benchmarks.runs import run_costs


def main() -> None:
    """Measures, and prints one table."""
    rate = landing_rate()
    runs = run_costs()
    table = Table(title="Meshhouse, target local", title_justify="left")
    for column in ("what", "measured", "beside", "ratio", "aim"):
        table.add_column(column)
    table.add_row(
        "landing from memory, decode and write",
        f"{rate['landed']:,.0f} events/s",
        f"json.loads of each, one core: {rate['parsed']:,.0f}/s",
        f"{rate['ratio']:.2f}",
        "at least 500,000 events/s",
    )
    table.add_row(
        "mesh run --force of all domains",
        f"{runs['forced']:.1f} s",
        f"plain dbt build of each: {runs['plain']:.1f} s",
        f"{runs['forced_over_plain']:.2f}",
        "at most 0.6",
    )
    table.add_row(
        "mesh run after one more day",
        f"{runs['day']:.1f} s",
        f"the full run: {runs['full']:.1f} s",
        f"{runs['day_over_full']:.2f}",
        "at most 0.25",
    )
    table.add_row("mesh run with nothing new", f"{runs['unchanged']:.1f} s", "", "", "under 25 s")
    Console(width=140).print(table)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
