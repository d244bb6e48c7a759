"""Who reads which product, and what products cost.

Belongs here: recording reads (record.py), keeping them (lines.py, store.py), what they say about
each product (usage.py), and costs (costs.py). Not here: finding out what a query reads, which is
part of what runs the query (serve/, engines/), or showing figures (cli/, catalog/).
"""

from meshhouse.usage.costs import Cost, Costs, costs, costs_of
from meshhouse.usage.reads import Read
from meshhouse.usage.record import Recorder, recorder_of
from meshhouse.usage.store import Kept, ReadStore, store_of
from meshhouse.usage.usage import ConsumerUse, Usage, usage_of, usages

__all__ = [
    "ConsumerUse",
    "Cost",
    "Costs",
    "Kept",
    "Read",
    "ReadStore",
    "Recorder",
    "Usage",
    "costs",
    "costs_of",
    "recorder_of",
    "store_of",
    "usage_of",
    "usages",
]
