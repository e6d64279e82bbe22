"""The project's application, in a process that tells what it holds and whose caches by name are full."""

from project.asgi import application
from tests.soak.soakapp import probe

__all__ = ["application"]

probe.start()
