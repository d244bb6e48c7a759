"""Notices: who hears that something is wrong, that it is over, or that a product changes.

Belongs here: alerts for owners, notices of change for consumers, and their delivery. Not here: what
the facts mean (runs/, governance/), when to look (dagster/, cron), or printing (cli/).

In reading order: facts.py and gather.py (what is known), causes.py and changes.py (pure rules: what
is worth a message), audience.py (whom a product concerns), outbox.py (what was decided and sent),
channels.py (who receives it), webhook.py and mail.py (how), deliver.py and look.py (one look).
"""

from meshhouse.notices.causes import JOB_FAILED, SEVERAL, Cause
from meshhouse.notices.channels import Channels
from meshhouse.notices.facts import JobFailure
from meshhouse.notices.look import Look, drop, look, outbox_of, send_test
from meshhouse.notices.outbox import OpenCause, Outbox, Queued

__all__ = [
    "JOB_FAILED",
    "SEVERAL",
    "Cause",
    "Channels",
    "JobFailure",
    "Look",
    "OpenCause",
    "Outbox",
    "Queued",
    "drop",
    "look",
    "outbox_of",
    "send_test",
]
