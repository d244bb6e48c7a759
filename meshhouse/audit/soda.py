"""Soda, loaded without its telemetry.

Belongs here: importing Soda. Not here: what is done with it (verify.py).

Soda imports every installed data source, which takes 1 s. So this module is imported where a
candidate is audited, and in the server from which the processes of a run are forked.
"""

from __future__ import annotations

import os
import warnings

# Set before the import: Soda starts its telemetry while it is imported.
os.environ.setdefault("SODA_CORE_TELEMETRY_ENABLED", "false")
with warnings.catch_warnings():
    # Soda imports every connector eagerly; silence their version warnings.
    warnings.simplefilter("ignore")
    from soda_core.common.yaml import ContractYamlSource
    from soda_core.contracts.contract_verification import ContractVerificationSession

__all__ = ["ContractVerificationSession", "ContractYamlSource"]
