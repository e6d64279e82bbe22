"""Durable publications: rows written in the caller's transaction, and the relay that sends them."""
