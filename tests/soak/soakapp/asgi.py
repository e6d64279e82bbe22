"""The project's application, in a process that tells what it holds, whose caches by name are full and whose histories
are short."""

from project.asgi import application
from tests.soak.soakapp import histories, probe

__all__ = ["application"]

histories.shorten()
probe.start()
