"""The HTTP server: bytes to requests, responses to bytes. It knows nothing of the application."""
