"""The demo: a year of real retail data, replayed into topics."""
