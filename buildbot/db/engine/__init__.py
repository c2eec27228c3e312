"""The machinery of the connectors: connections, queries, statements, transactions. It knows no noun."""
