"""`manage.py loadtest`, as far as it goes without Artillery: options that make no sense, targets, comparing reports.

The runs themselves are `make load` and `make load-gate`.
"""

import json
import re
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.core.management.base import CommandError

from flotilla.command_line import Status
from flotilla.ops.load import artillery, destinations
from flotilla.ops.load.artillery import PROFILES, extent
from flotilla.ops.load.destinations import to_target
from flotilla.ops.load.figures import read
from flotilla.ops.load.run import FAILS, HOLDS, NOT_MEASURED, Result, repeated
from flotilla.ops.load.verdicts import ARTILLERY, TIMES, Verdict, doubted
from flotilla.ops.management.commands import loadtest
from flotilla.ratelimit.algorithms.rates import parse_rate
from tests.ops.load.reports import report, times


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"profile": "smok"}, r"samples\.smok"),
        ({"target": "http://127.0.0.1:8000"}, "ws://host:port"),
        ({"target": "ws://"}, "ws://host:port"),
        ({"target": "ws://127.0.0.1:9", "limit_publish": "fast"}, "burst"),
        ({"target": "ws://127.0.0.1:9", "limit_publish": "5/s"}, "REALTIME_TOKEN_SECRET"),
        ({"limit_http": "5/s"}, "--target"),
        ({"page": "/"}, "--target"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_started(
    options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REALTIME_TOKEN_SECRET", raising=False)
    with pytest.raises((CommandError, ValueError), match=says):
        call_command("loadtest", **options)


def test_a_target_is_loaded_as_it_is() -> None:
    promised = {"publish": parse_rate("5/s burst=10")}
    place = to_target("wss://staging.example:444", "secret", promised, {"page": "/"})
    assert (place.address, place.secure, dict(place.variables)) == ("staging.example:444", True, {"page": "/"})
    assert place.without == {"settled"}
    assert to_target("ws://127.0.0.1:80/my/path", "", {}, {}).variables == {"websocket": "ws://127.0.0.1:80/my/path"}
    assert to_target("ws://127.0.0.1:80", "", {}, {}).without == {"settled", "denied"}


def test_comparing_fails_on_a_regression_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "a.json", tmp_path / "b.json"
    before.write_text(json.dumps(report()))
    after.write_text(json.dumps(report()))
    call_command("loadtest", compare=[before, after])
    assert "WORSE" not in capsys.readouterr().out
    after.write_text(json.dumps(report(delivery=times(p95=90.0))))
    with pytest.raises(CommandError, match="worse by more than noise"):
        call_command("loadtest", compare=[before, after])
    assert "WORSE p95 publish→receive" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"aggregate": 3}'])
def test_what_is_no_report_cannot_be_compared(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(CommandError, match="cannot compare"):
        call_command("loadtest", compare=[path, path])


def result(*failing: str, late: float = 1.0) -> Result:
    found = report()
    found["aggregate"]["summaries"]["flotilla.late"] = times(500, late)
    verdicts = [Verdict(name, name not in failing, "") for name in (*TIMES[:2], "lost", ARTILLERY)]
    return Result(read(found), verdicts, "", Path())


@pytest.mark.parametrize(
    ("results", "runs"),
    [
        ([result()], 1),
        ([result("lost", ARTILLERY)], 1),  # no busy machine loses publications
        ([result(TIMES[0], ARTILLERY), result()], 2),
        ([result("lost", late=60.0), result()], 2),
        ([result(TIMES[1]), result(TIMES[1]), result(TIMES[1]), result()], 3),
    ],
)
def test_only_what_a_busy_machine_can_do_is_repeated(results: list[Result], runs: int) -> None:
    queue = list(results)
    assert repeated(3, lambda: queue.pop(0), lambda line: None) is results[runs - 1]


def served(answer: bytes | None) -> tuple[socket.socket, threading.Thread]:
    """A port at which one request is answered so, or taken and never answered."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if answer is not None:
                connection.sendall(answer)
            else:
                connection.recv(1)  # until the other side has had enough

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404 where a WebSocket was asked for"),
        (b"220 mail ready\r\n", "does not answer ("),
        (None, "does not answer (timed out)"),
    ],
    ids=["no WebSocket", "no HTTP", "silent"],
)
def test_a_target_that_is_none_is_said_in_a_line_before_anything_is_installed(
    answer: bytes | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "ANSWER_WITHIN", 1.0)
    monkeypatch.setattr(loadtest, "install", lambda say: pytest.fail("it was installed"))
    listener, thread = served(answer)
    try:
        with pytest.raises(CommandError, match=re.escape(says)) as failed:
            call_command("loadtest", target=f"ws://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        thread.join()
        listener.close()
    assert "\n" not in str(failed.value)
    assert failed.value.returncode == Status.AWAY


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_dead_target_is_said_so(scheme: str) -> None:
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:9 does not answer \(connection refused\)") as failed:
        call_command("loadtest", target=f"{scheme}://127.0.0.1:9")
    assert failed.value.returncode == Status.AWAY


def judged(*failing: str, late: float) -> Result:
    """What a run comes to whose generator was late by so many milliseconds."""
    found = result(*failing, late=late)
    return replace(found, verdicts=doubted(found.verdicts)) if found.late else found


@pytest.mark.parametrize(
    ("failing", "late", "conclusion", "status"),
    [
        ((), 1.0, HOLDS, Status.DONE),
        ((), 60.0, HOLDS, Status.DONE),  # in spite of it
        ((TIMES[0], ARTILLERY), 1.0, FAILS, Status.NOT_DONE),  # the generator was in time: it is the server
        ((TIMES[0], ARTILLERY), 60.0, NOT_MEASURED, Status.NOT_MEASURED),
        (("lost", ARTILLERY), 60.0, FAILS, Status.NOT_DONE),  # no busy machine loses publications
        ((TIMES[0], "lost"), 60.0, FAILS, Status.NOT_DONE),
    ],
)
def test_what_a_busy_machine_may_have_done_is_not_measured(
    failing: tuple[str, ...],
    late: float,
    conclusion: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither a pass nor a failure, with a status of its own, in words and for machines."""
    found = judged(*failing, late=late)
    assert found.conclusion == conclusion
    monkeypatch.setattr(loadtest.Command, "_load", lambda self, **options: found)
    for words in ((), ("--json",)):
        try:
            call_command("loadtest", *words)
            ended = 0
        except CommandError as error:
            ended = error.returncode
        assert ended == status
        said = capsys.readouterr().out
        if words:
            told = json.loads(said)
            assert told["conclusion"] == conclusion
            assert {one["name"] for one in told["verdicts"] if not one["passed"]} == set(failing)
        else:
            assert ("FAIL" in said) is (conclusion == FAILS)
            assert ("not measured" in said) is bool(late > 25 and set(failing) - {"lost", ARTILLERY})


def test_what_is_loaded_is_said_before() -> None:
    """Of each profile; the figures are those of profile.yml, read as YAML."""
    told = yaml.safe_load((artillery.PROFILE / "profile.yml").read_text())["config"]["environments"]
    assert set(told) == set(PROFILES)
    for name, environment in told.items():
        clients = sum(
            phase.get("arrivalCount", 0)
            + phase["duration"] * (phase.get("arrivalRate", 0) + phase.get("rampTo", phase.get("arrivalRate", 0))) // 2
            for phase in environment["phases"]
        )
        assert extent(name) == f"{clients} clients, for {environment['variables']['stay']} s"
    assert extent("smoke", 12).endswith("for 12 s")
