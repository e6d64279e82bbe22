"""Rooms with members, live: Django's users, models and views, and a page of plain JavaScript."""
