"""How nouns are stored: the pool, connectors with one file per noun, queries, migrations; dialects/ knows databases."""
