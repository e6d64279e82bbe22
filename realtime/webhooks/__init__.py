"""Webhooks: other services are told by signed requests who connects, subscribes and leaves."""
