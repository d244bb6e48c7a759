"""How consumers read published products.

Belongs here: connections for consumers, and the SQL that they may run. Not here: publishing
(runs/publication.py), or the views of tables in DuckDB (lake/views.py).
"""
