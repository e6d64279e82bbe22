"""`tail` as it is typed: it ends without an error when it is told to, and when nobody reads any more."""

import signal
from pathlib import Path

from tests.cluster.support.processes import wait_until
from tests.store.redis_process import RedisProcess
from tests.tiny_projects.tiny import WITHIN, TinyProject


def test_control_c_ends_it_in_order(tmp_path: Path, redis_process: RedisProcess) -> None:
    project = TinyProject(tmp_path / "tail", redis_process.url)
    with project.start("tail", "chat:a") as following:
        wait_until(lambda: following.poll() is not None or redis_process.ask("PUBSUB", "CHANNELS"), "it follows")
        project.manage("publish", "chat:a", '"hello"')
        assert following.stdout is not None
        assert '"hello"' in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        _, complaints = following.communicate(timeout=WITHIN)
        assert (following.returncode, complaints.strip()) == (0, "")


def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path, redis_process: RedisProcess) -> None:
    project = TinyProject(tmp_path / "tail", redis_process.url)
    with project.start("tail", "chat:a") as following:
        wait_until(lambda: following.poll() is not None or redis_process.ask("PUBSUB", "CHANNELS"), "it follows")
        assert following.stdout is not None
        following.stdout.close()
        project.manage("publish", "chat:a", "1")
        assert following.wait(WITHIN) == 0
        assert following.stderr is not None
        assert following.stderr.read() == ""
