"""A domain that cannot be used, as Dagster shows it.

Belongs here: the asset that stands for such a domain. Not here: finding out what is wrong
(meshhouse/repository/, meshhouse/dbt/).
"""

import dagster as dg

from meshhouse.dagster.translator import safe_name
from meshhouse.markdown import fenced


def broken_asset(domain: str, because: str) -> dg.AssetsDefinition:
    """An asset that says what is wrong with a domain, and fails with that when materialised.

    Args:
        domain: its name, whatever characters that has.
        because: what is wrong, with file and line.
    """
    safe = safe_name(domain)
    about = (
        f"The domain {safe} is broken:\n\n{fenced([because])}\n\nIts assets are missing here until "
        "that is mended and the code location is reloaded. Every other domain works."
    )

    @dg.asset(
        name="broken",
        key_prefix=[safe],
        group_name=safe,
        description=about,
        op_tags={"meshhouse/broken": "true"},
        metadata={"problem": because},
    )
    def broken() -> None:
        raise dg.Failure(because, allow_retries=False)

    return broken
