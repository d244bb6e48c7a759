"""Target `local`: dbt builds in a DuckDB file, products are Iceberg tables of the lake."""
