"""One connection from handshake to clean-up: its state, its commands, its subscriptions."""
