"""dbt projects from elsewhere, which become domains: reading them, and what has to change.

Belongs here: texts and decisions. Not here: copying, building and moving files
(runs/import_project.py).
"""
