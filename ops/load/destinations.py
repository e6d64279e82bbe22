"""Where a load run goes to: a cluster of its own, an installation that runs somewhere, or the control."""

import contextlib
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from flotilla.ops.drill.processes import DrillFailed, Program, free_ports, wait_for
from flotilla.ops.drill.stack import answers
from flotilla.ops.drill.timeline import Say
from flotilla.ops.load.artillery import home, node
from flotilla.ops.load.cluster import Cluster
from flotilla.ratelimit.algorithms.rates import Rate
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.private_files import private_folder

ANSWER_WITHIN = 5.0  # seconds
SERVES = (101, 429, 503)  # it does, or would if there were not too many
CHECK = "is Flotilla running there, and to be reached from here?"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
Variables = Mapping[str, str | int | float]


class NoAnswer(Exception):
    """Nobody is there who could be loaded."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run goes to. `promised`: what its limits promise; `metrics`: where its instances tell their figures."""

    address: str
    token_secret: str = ""
    secure: bool = False
    variables: Variables = field(default_factory=dict)
    promised: Mapping[str, Rate] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()  # samples it cannot give


def require_answer(place: Place, target: str) -> None:
    """See that a WebSocket is answered there before anything is installed or loaded. Raises NoAnswer in one line."""
    path = urlsplit(str(place.variables.get("websocket", ""))).path or "/connection/websocket"
    try:
        connection = _connection(place)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=HANDSHAKE)
            status = connection.getresponse().status
    except HTTPException:
        raise NoAnswer(f"{target} does not answer (it does not speak HTTP): {CHECK}") from None
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise NoAnswer(f"{target} does not answer ({why[0].lower()}{why[1:]}): {CHECK}") from None
    if status not in SERVES:
        raise NoAnswer(f"{target} answers {status} where a WebSocket was asked for ({path}): {CHECK}")


def _connection(place: Place) -> HTTPConnection:
    if not place.secure:
        return HTTPConnection(place.address, timeout=ANSWER_WITHIN)
    trusting = ssl._create_unverified_context()  # only whether somebody is there is asked; Artillery verifies  # noqa: S323
    return HTTPSConnection(place.address, timeout=ANSWER_WITHIN, context=trusting)


def to_target(target: str, token_secret: str, promised: Mapping[str, Rate], changed: Variables) -> Place:
    """An installation that runs somewhere, as ws://host:port; `changed`: the profile's variables. Raises ValueError."""
    parts = urlsplit(target)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{target!r} is not a target: write ws://host:port or wss://host")
    variables = dict(changed) | ({"websocket": target} if parts.path.strip("/") else {})
    without = {"settled"} | (set() if "publish" in promised else {"denied"})
    secure = parts.scheme == "wss"
    return Place(parts.netloc, token_secret, secure, variables, promised, without=frozenset(without))


@contextlib.contextmanager
def own_cluster(instances: int, say: Say, lenient: int = 1) -> Iterator[Place]:
    """A cluster for this run alone."""
    say(f"starting {instances} instances and a Redis …")
    with Cluster(instances, lenient) as cluster:
        variables = {"page": cluster.page}
        metrics = tuple(cluster.metrics)
        try:
            yield Place(cluster.address, cluster.token_secret, False, variables, cluster.promised, metrics)
        except DrillFailed as error:
            raise DrillFailed(f"{error}\n{cluster.tail()}") from None


@contextlib.contextmanager
def control(say: Say) -> Iterator[Place]:
    """An echo that does nothing else: what is measured on it, the generator and the machine add."""
    [port] = free_ports(1)
    folder = new_folder("control")
    echo = Program("echo", folder, [node(), str(home() / "echo.js"), str(port)])
    say("starting the control: an echo that speaks the protocol and does nothing else …")
    echo.start()
    try:
        wait_for(lambda: not echo.running or answers(f"http://127.0.0.1:{port}"), "the echo answers", 20)
        if not echo.running:
            raise DrillFailed(f"the echo ended\n{echo.tail()}")
        yield Place(f"127.0.0.1:{port}", without=frozenset({"denied", "recovered"}))
    finally:
        echo.stop()


def new_folder(name: str) -> Path:
    """A folder of this run's own under var/load."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = Path(get_server_config().var_dir) / "load" / f"{name}-{stamp}{f'-{number}' if number else ''}"
        private_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return folder
    raise DrillFailed("no folder can be made under var/load")
