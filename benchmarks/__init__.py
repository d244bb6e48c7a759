"""Benchmarks. Each figure is a ratio of two measurements of the same run.

Belongs here: measuring landing, runs and publication beside a baseline. Not here: tests of
correctness (tests/).
"""
