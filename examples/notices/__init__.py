"""Notices: what somebody should know, and how much of it is unread, with HTMX and without any other script."""
