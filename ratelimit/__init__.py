"""Rate limits for HTTP routes and WebSocket commands, shared by all instances through Redis."""
