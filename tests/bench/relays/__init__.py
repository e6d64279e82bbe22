"""Rows of a database on their way to Redis: those who write them, a loop that polls, and who hears what comes out."""
