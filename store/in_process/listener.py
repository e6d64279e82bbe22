"""The thread in which an engine lives: it accepts connections, reads commands and writes answers.

Where the system has Unix sockets, the engine listens on one in a folder that only this user may enter; elsewhere on the
loopback interface, with a password made by chance. Nothing outside this machine reaches it.
"""

import contextlib
import os
import secrets
import selectors
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import hiredis

from flotilla.store.in_process import commands as _registered
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.session import Session

SWEEP_EVERY = 5.0  # seconds between two looks for keys that have ended
READ_AT_ONCE = 256 * 1024  # bytes
BACKLOG = 512

assert _registered


class Engine:
    """An engine from its making to `close`. `url` is the address that clients of Redis connect to."""

    def __init__(self, clock: Callable[[], int] = time.time_ns, *, unix: bool | None = None) -> None:
        self.db = Database(clock)
        self.url = ""
        self._folder = ""
        self._password = b""
        self._listener = self._unix() if (hasattr(socket, "AF_UNIX") if unix is None else unix) else self._loopback()
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._woken, self._wake = socket.socketpair()
        self._sessions: dict[socket.socket, Session] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._ended = threading.Event()
        self._forgetting: deque[threading.Event] = deque()  # who waits for it
        self._thread = threading.Thread(target=self._live, name="flotilla-engine", daemon=True)
        self._thread.start()

    def _unix(self) -> socket.socket:
        self._folder = tempfile.mkdtemp(prefix="flotilla-engine-")
        path = os.path.join(self._folder, "engine.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        self.url = f"unix://{path}"
        return listener

    def _loopback(self) -> socket.socket:
        self._password = secrets.token_urlsafe(24).encode()
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", 0))
        self.url = f"redis://:{self._password.decode()}@127.0.0.1:{listener.getsockname()[1]}"
        return listener

    def close(self) -> None:
        """End it, with everything it knew; its connections are closed. Doing it again does nothing."""
        if not self._ended.is_set():
            self._ended.set()
            with contextlib.suppress(OSError):  # it has ended by itself
                self._wake.send(b"x")
            self._thread.join()

    def forget(self) -> None:
        """Forget all keys; whoever is connected stays so. Does nothing once it has ended."""
        forgotten = threading.Event()
        self._forgetting.append(forgotten)
        with contextlib.suppress(OSError):  # it has ended
            self._wake.send(b"x")
            while self._thread.is_alive() and not forgotten.wait(0.1):
                pass

    def abandon(self) -> None:
        """For a process that was forked: the engine lives on in the parent, and this copy of its sockets must not keep
        its listener open when the parent has ended."""
        self._ended.set()
        for one in (self._listener, self._woken, self._wake, *self._sessions):
            one.close()

    # In the engine's thread

    def _live(self) -> None:
        sweep_at = time.monotonic() + SWEEP_EVERY
        try:
            while not self._ended.is_set():
                for key, events in self._selector.select(self._patience(sweep_at)):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._woken:
                        self._answer_woken()
                    elif isinstance(key.data, Session):
                        self._serve(key.fileobj, key.data, events)  # type: ignore[arg-type]
                self._settle()
                if time.monotonic() >= sweep_at:
                    sweep_at = time.monotonic() + SWEEP_EVERY
                    self.db.keys.step()
                    self.db.keys.sweep()
        finally:
            self._clean_up()

    def _answer_woken(self) -> None:
        self._woken.recv(4096)
        while self._forgetting:
            self.db.keys.clear()
            self._forgetting.popleft().set()

    def _patience(self, sweep_at: float) -> float:
        moments = [one.waiting.until for one in self._sessions.values() if one.waiting and one.waiting.until]
        return max(min([sweep_at, *moments]) - time.monotonic(), 0)

    def _everybody(self) -> Iterable[Session]:
        return list(self._sessions.values())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again, or no file is left for it: the next look tries again
            return
        connection.setblocking(False)
        self._sessions[connection] = session = Session(self.db, self._everybody, self._password)
        self._selector.register(connection, selectors.EVENT_READ, session)

    def _serve(self, connection: socket.socket, session: Session, events: int) -> None:
        if not events & selectors.EVENT_READ:
            return  # there is room to write: `_settle` does
        try:
            data = connection.recv(READ_AT_ONCE)
            if not data:
                raise ConnectionResetError
            session.feed(data)
        except BlockingIOError:
            return
        except (OSError, hiredis.ProtocolError):
            self._end(connection, session)

    def _settle(self) -> None:
        """Let those go on who waited for what has come, and write what is to be written."""
        pushed, now = self.db.pushed, time.monotonic()
        while True:
            self.db.pushed = set()
            for session in self._everybody():
                waiting = session.waiting
                due = waiting is not None and waiting.until is not None and now >= waiting.until
                if waiting is not None and (due or not pushed.isdisjoint(waiting.lists)):
                    session.look()
            if not self.db.pushed:
                break
            pushed = self.db.pushed  # by those who went on
        for connection, session in list(self._sessions.items()):
            if session.out or session.ending:
                self._write(connection, session)

    def _write(self, connection: socket.socket, session: Session) -> None:
        try:
            sent = connection.send(session.out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end(connection, session)
            return
        del session.out[:sent]
        if session.ending:
            self._end(connection, session)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if session.out else 0)
        if self._selector.get_key(connection).events != events:
            self._selector.modify(connection, events, session)

    def _end(self, connection: socket.socket, session: Session) -> None:
        if self._sessions.pop(connection, None) is not None:
            session.end()
            self._selector.unregister(connection)
            connection.close()

    def _clean_up(self) -> None:
        for connection, session in list(self._sessions.items()):
            self._end(connection, session)
        self._selector.close()
        for one in (self._listener, self._woken, self._wake):
            with contextlib.suppress(OSError):
                one.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
