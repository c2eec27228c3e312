"""The database layer: the pool, connectors with one file per noun, queries, migrations; dialects/ knows databases."""
