"""The demo: a year of real retail data, replayed into topics.

Belongs here: the events of the demo, and writing them to topics. Not here: the demo's domains
(domains/, models/), or landing the events (landing/).
"""
