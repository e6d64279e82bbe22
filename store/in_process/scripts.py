"""Lua scripts in the engine: compiled once, run to their end, with `redis.call` as in Redis.

Lua itself is the real one (5.1, of the package lupa), so that numbers, patterns and errors are those of Redis.
"""

from collections.abc import Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from lupa import lua51

from flotilla.store.in_process import lua_libraries
from flotilla.store.in_process.replies import Error, Reply, Status, flat

NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL."
ARGUMENTS = "ERR Lua redis lib command arguments must be strings or integers"


class Scripts:
    """The scripts that were loaded, and the Lua that runs them. `call` runs a command for a script."""

    def __init__(self, call: Callable[[list[bytes]], Reply]) -> None:
        self._call = call
        self._lua = lua51.LuaRuntime(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attribute,
        )
        prelude = files("flotilla.store.in_process").joinpath("prelude.lua").read_bytes()
        given = (
            self._dispatch,
            lambda text: sha1(text, usedforsecurity=False).hexdigest().encode(),
            lua_libraries.Packer(lua51.lua_type).pack,
            lambda packed: self._value(lua_libraries.unpack(packed)),
            lua_libraries.struct_pack,
            lua_libraries.struct_unpack,
            lua_libraries.struct_size,
        )
        self._compile, self._run = self._lua.execute(prelude, *given)
        self._known: dict[bytes, Callable[[], Any]] = {}

    def load(self, source: bytes) -> bytes:
        """Compile a script and keep it; its digest. Raises Error."""
        digest = sha1(source, usedforsecurity=False).hexdigest().encode()
        if digest not in self._known:
            compiled = self._compile(source)
            if isinstance(compiled, bytes):
                raise Error(f"ERR Error compiling script (new function): {compiled.decode(errors='replace')}")
            self._known[digest] = compiled
        return digest

    def knows(self, digest: bytes) -> bool:
        """Whether a script of this digest was loaded."""
        return digest.lower() in self._known

    def flush(self) -> None:
        """Forget all scripts."""
        self._known.clear()

    def run(self, digest: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Reply:
        """Run a loaded script to its end. Raises Error."""
        script = self._known.get(digest.lower())
        if script is None:
            raise Error(NO_SCRIPT)
        table = self._lua.table_from
        fine, found = _two(self._run(script, table(keys), table(arguments)))
        if not fine:
            told = found.decode("utf-8", "surrogateescape")
            raise Error(f"{told} script: {digest.lower().decode()}, on @user_script:1.")
        reply = self._reply(found)
        if isinstance(reply, Error):
            raise reply
        return reply

    def _dispatch(self, *given: Any) -> tuple[bool, Any]:
        """A call out of a script."""
        try:
            if not given:
                raise Error("ERR Please specify at least one argument for this redis.call() call")
            return True, self._value(self._call(list(map(_argument, given))))
        except Error as error:
            return False, error.text.encode("utf-8", "surrogateescape")

    def _value(self, reply: Reply) -> Any:
        """A reply as a script gets it."""
        if type(reply) is bytes or type(reply) is int:
            return reply
        if reply is None:
            return False
        reply = flat(reply)
        if isinstance(reply, Status):
            return self._lua.table_from({b"ok": bytes(reply)})
        if isinstance(reply, list):
            return self._lua.table_from(list(map(self._value, reply)))
        return reply

    def _reply(self, value: Any) -> Reply:
        """What a script returned as a reply: fractions are cut off, and a list ends before its first nil."""
        if isinstance(value, bytes):
            return value
        if value is None or value is False:
            return None
        if isinstance(value, (int, float)):
            return int(value)
        if lua51.lua_type(value) != "table":
            return None
        if (problem := value[b"err"]) is not None:
            return Error(problem.decode("utf-8", "surrogateescape"))
        if (status := value[b"ok"]) is not None:
            return Status(status)
        found: list[Reply] = []
        while (one := value[len(found) + 1]) is not None:
            found.append(self._reply(one))
        return found


def _two(found: Any) -> tuple[bool, Any]:
    """What Lua returned; it leaves out a nil at the end."""
    return found if isinstance(found, tuple) else (found, None)


def _argument(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return b"%.17g" % value
    raise Error(ARGUMENTS)


def _no_attribute(_: Any, name: Any, __: bool) -> Any:
    raise AttributeError(f"scripts do not reach into Python: {name!r}")
