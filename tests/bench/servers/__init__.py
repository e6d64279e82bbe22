"""The servers side by side. Each module here knows one of them: how it starts, how clients join, how to publish."""
