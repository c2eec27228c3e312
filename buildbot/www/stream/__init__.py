"""WebSocket and SSE: subscriptions to events over HTTP."""
