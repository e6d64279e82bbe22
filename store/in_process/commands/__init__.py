"""The commands of the engine, one module for each kind of value. Importing this registers them."""

from flotilla.store.in_process.commands import (
    connections,
    hashes,
    keys,
    lists,
    scripting,
    server,
    sets,
    sorted_sets,
    streams,
    strings,
)

__all__ = [
    "connections",
    "hashes",
    "keys",
    "lists",
    "scripting",
    "server",
    "sets",
    "sorted_sets",
    "streams",
    "strings",
]
