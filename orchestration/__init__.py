"""Dagster: what exists, what triggers what."""
