"""How one domain becomes Dagster's assets, checks and runs."""
