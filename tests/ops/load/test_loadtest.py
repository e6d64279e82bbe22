"""`manage.py loadtest`, as far as it goes without Artillery: options that make no sense, targets, comparing reports.

The runs themselves are `make load` and `make load-gate`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from flotilla.ops.load.destinations import to_target
from flotilla.ops.load.figures import read
from flotilla.ops.load.run import Result, repeated
from flotilla.ops.load.verdicts import ARTILLERY, TIMES, Verdict
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
        ({"duration": 3}, "10 seconds"),
        ({"instances": 0}, "from 1 to 64"),
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
