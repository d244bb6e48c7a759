"""How the steps of every domain behave: what follows what, retries, concurrency.

Belongs here: the values. Not here: what a step does (meshhouse/dagster/).
"""

from __future__ import annotations

import dagster as dg

from meshhouse.dagster.settings import Settings

STEPS = Settings(
    # Whatever is made of a raw table is built, audited and published once for each landing.
    follows=dg.AutomationCondition.eager(),
    # Such as dg.RetryPolicy(max_retries=3, delay=60): a broker may be unreachable for a minute.
    landing_retries=None,
    build_retries=None,
    # Pools: as many steps of a pool run at once as dagster.yaml (`concurrency`) or the page
    # "Deployment > Concurrency" allows. `mesh run` does not wait for pools.
    landing_pool="{domain}",
    build_pool="{target}",
)

# Steps run one after another in one process: dbt and Soda are loaded once, and each step uses
# all cores by itself. `dg.multiprocess_executor` runs several domains at once, in more memory.
EXECUTOR = dg.in_process_executor
