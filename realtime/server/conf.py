"""The settings of a process: where it listens, what its HTTP side bears, and how it ends."""

import math
from typing import Annotated

import msgspec

from flotilla.conf import Part
from flotilla.config_reader import PositiveSeconds, Seconds
from flotilla.ratelimit.conf import INSTANCES, Instances

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10**6)]
Bytes = Annotated[int, msgspec.Meta(ge=1)]
Certificate = Annotated[str, msgspec.Meta(pattern=r"/|:\d{1,5}$")]


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times are seconds, sizes bytes."""

    host: str = "127.0.0.1"
    """The address that `serve` listens on."""
    port: Port = 8000
    """The port that `serve` listens on."""
    instances: Instances = INSTANCES
    """Processes on this host that `serve` starts."""
    metrics_host: str = "127.0.0.1"
    """The address where Prometheus finds the metrics."""
    metrics_port: Port = 9400
    """The port where Prometheus finds the first process; the next ones have the next ports. 0: nowhere."""
    metrics_certificates: tuple[Certificate, ...] = ()
    """Certificates whose end the metrics tell: paths of .pem files or of folders of them, and `host:port` that show one
    over TLS."""
    root_path: str = ""
    """The path that the whole site lies under, as `/realtime`."""
    var_dir: str = "var"
    """Where this machine keeps files between starts: the sockets, the load generator."""
    drain_grace: Seconds = 0.0
    """How long a process that ends says that it is not ready and still takes clients."""
    drain_deadline: Seconds = 15.0
    """How long a process takes to end, the grace included."""
    http_max_waiting: Count = 10_000
    """Connections that have sent no request yet, or are idle between two: the oldest are closed."""
    http_max_waiting_per_address: Count = 5000
    """The same of one address."""
    http_max_body: Bytes = 10_000_000
    """Bytes that a request's body may have."""
    http_max_body_paths: tuple[tuple[str, Bytes], ...] = ()
    """Other bounds, as pairs of a path's beginning and bytes: the longest that fits counts."""
    http_timeout: Seconds = 60.0
    """How long an application has until its response begins; 0: any time."""
    http_stalled_after: Seconds = 60.0
    """A client that takes less than 1 KB in this time while bytes wait for it is given up; 0: never."""
    http_keep_alive: PositiveSeconds = 60.0
    """How long a connection may be idle between two requests."""
    http_least_body_rate: Annotated[int, msgspec.Meta(ge=0)] = 240
    """Bytes a second that a body must have at least, over 10 s; 0: any."""

    @property
    def response_within(self) -> float:
        """Seconds an application has until its response begins."""
        return self.http_timeout or math.inf

    @property
    def stalled_after(self) -> float:
        """Seconds in which a client takes less than 1 KB of what waits for it."""
        return self.http_stalled_after or math.inf

    def max_body_at(self, path: str) -> int:
        """Bytes a body may have that is sent to a path (below the root path)."""
        fitting = [(len(beginning), most) for beginning, most in self.http_max_body_paths if path.startswith(beginning)]
        return max(fitting)[1] if fitting else self.http_max_body


_OF_PROJECTS = {"host", "port", "instances", "root_path", "var_dir", "http_timeout"}
"""Keys without a former name: in a project's settings that name may well be something else."""

get_server_config = Part(
    ServerConfig, {key: key.upper() for key in msgspec.structs.asdict(ServerConfig()) if key not in _OF_PROJECTS}
)
"""The process's settings as they are now."""
