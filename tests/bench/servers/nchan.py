"""Nchan, a pub/sub module of nginx in C, with its Redis store. One worker.

From outside, publications are posted to a second nginx on the same Redis: the server does not do the publisher's work.
"""

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from tests.bench.servers.base import Publishing, Server, answers
from tests.cluster.support.processes import free_port, wait_until

_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules", "/etc/nginx/modules")
_CONFIG = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log {home}/error.log warn;
pid {home}/nginx.pid;
events {{ worker_connections 15000; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  keepalive_requests 100000000;
  client_body_buffer_size 1m;
  nchan_max_reserved_memory 512M;
  upstream messages {{ nchan_redis_server "redis://127.0.0.1:{redis}"; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ ^/room/(\\d+)$ {{
      nchan_pubsub websocket;
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_redis_pass messages;
      nchan_message_buffer_length 100;
      nchan_message_timeout 5m;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""


def _stores(port: int) -> bool:
    """Whether a publication is taken, which needs Redis."""
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/room/999999", data=b"{}")
        with urllib.request.urlopen(request, timeout=2) as response:
            return bool(response.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def _module() -> str | None:
    paths = (Path(folder) / "ngx_nchan_module.so" for folder in _MODULES)
    return next((str(path) for path in paths if path.exists()), None)


class Nchan(Server):
    """nginx with the module."""

    name = "nchan"
    title = "Nchan on nginx, Redis store"

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("nginx") is None or _module() is None:
            return "no nginx with the nchan module"
        return super().missing()

    @property
    def path(self) -> str:
        return "/room/%r"

    def outside(self) -> Publishing:
        port = free_port()
        publisher = self.help("publisher", self._command("publisher", port))
        wait_until(lambda: not publisher.running or answers(port), "the publishing nginx listens")
        message = self.shape.message
        head = f"POST /room/0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(message)}\r\n\r\n"
        return Publishing(port, (head + message).encode())

    def start_processes(self) -> None:
        process = self.spawn(self._command("server", self.ports[0]))
        wait_until(lambda: not process.running or _stores(self.ports[0]), "nchan has reached Redis")

    def _command(self, name: str, port: int) -> list[str]:
        home = self.home / name
        home.mkdir()
        config = home / "nginx.conf"
        config.write_text(_CONFIG.format(module=_module(), home=home, port=port, redis=self.redis.port))
        return ["nginx", "-c", str(config), "-p", str(home)]
