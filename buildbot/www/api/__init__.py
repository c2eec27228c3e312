"""REST, JSON-RPC and OpenAPI: the Data API over HTTP."""
