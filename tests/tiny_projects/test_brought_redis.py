"""A project without a configured Redis, beside `serve`, which has brought one along."""

import subprocess
from pathlib import Path

from flotilla.realtime.server.embedded_redis import running_at, socket_path
from tests.cluster.support.processes import wait_until
from tests.tiny_projects.tiny import TinyProject

SETTINGS = """
import os
os.environ.pop("REDIS_URL", None)
DEBUG = True
del FLOTILLA["redis_url"]
"""


def test_commands_find_the_redis_that_serve_has_brought_along(tmp_path: Path) -> None:
    project = TinyProject(tmp_path / "try", "", SETTINGS)
    home = project.home / "var" / "redis"
    assert "Other processes cannot be reached" in project.manage("connections", status=1)
    path = socket_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ["--port", "0", "--unixsocket", str(path), "--dir", str(path.parent), "--save", ""]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as redis:
        try:
            wait_until(lambda: running_at(home), "the Redis answers")
            assert "0 connections; 0 of 0 instances answered" in project.manage("connections")
            assert "Published into chat:a" in project.manage("flotilla", "publish", "chat:a", "1")
        finally:
            redis.terminate()
    assert "Other processes cannot be reached" in project.manage("publish", "chat:a", "1", status=1)
