"""Freshness policies: an asset turns red by itself when nothing refreshes it.

Belongs here: policies from the promises of products and from the freshness of dbt sources, and the
check of the latter. Not here: measuring a promise in a run (promises.py), or evaluating a policy
(Dagster's daemon).

Dagster counts the time since the newest materialisation. A run records one for each product that
it published or proved to be unchanged, and none for a product that it rejected.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg

from meshhouse.repository import Product, RawTable, Repository, keys

SOURCE_CHECK = "source_freshness"
"""The name of the check of a raw table whose source declares `freshness`."""
_SHORTEST = timedelta(minutes=1)
"""Dagster takes no shorter window."""


def product_freshness(repository: Repository, product: Product) -> dg.FreshnessPolicy | None:
    """The policy of a product that promises when it is refreshed; environments promise nothing."""
    hours = product.promises.get(keys.REFRESHED_WITHIN_HOURS.name)
    if hours is None or repository.environment:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=_window(timedelta(hours=hours)))


def source_policy(repository: Repository, raw: RawTable) -> dg.FreshnessPolicy | None:
    """The policy of a raw table whose source declares `error_after`.

    Dagster has no policy that only warns; the check does that.
    """
    if raw.error_after is None or repository.environment:
        return None
    fail = _window(raw.error_after)
    warn = _window(raw.warn_after) if raw.warn_after else fail
    return dg.FreshnessPolicy.time_window(fail, warn if warn < fail else None)


def _window(declared: timedelta) -> timedelta:
    """A window that Dagster takes. Its page shows no policy that has a part of a second."""
    return max(timedelta(seconds=round(declared.total_seconds())), _SHORTEST)


def source_spec(key: dg.AssetKey, raw: RawTable) -> dg.AssetCheckSpec | None:
    """The check of a raw table whose source declares `freshness`; as in dbt, it stops nothing."""
    limits = [
        f"{word} after {limit}"
        for word, limit in (("warns", raw.warn_after), ("fails", raw.error_after))
        if limit
    ]
    if not limits:
        return None
    about = f"The newest events landed recently: {' and '.join(limits)} without any."
    return dg.AssetCheckSpec(SOURCE_CHECK, asset=key, description=about)


def source_check(
    key: dg.AssetKey, raw: RawTable, landed_at: datetime | None, now: datetime
) -> dg.AssetCheckResult:
    """How old the newest events of a raw table are.

    Args:
        key: of the raw table.
        raw: with the limits.
        landed_at: when its newest events landed; None if there never were any.
        now: the time to count from.
    """
    age = now - landed_at if landed_at else timedelta.max
    is_late = raw.error_after is not None and age > raw.error_after
    is_old = raw.warn_after is not None and age > raw.warn_after
    return dg.AssetCheckResult(
        passed=not (is_late or is_old),
        asset_key=key,
        check_name=SOURCE_CHECK,
        severity=dg.AssetCheckSeverity.ERROR if is_late else dg.AssetCheckSeverity.WARN,
        metadata={
            "newest events landed at": (
                dg.MetadataValue.timestamp(landed_at) if landed_at else "never"
            ),
            **({"hours ago": round(age.total_seconds() / 3600, 3)} if landed_at else {}),
        },
    )
