"""What is read beside Artillery's report: what was admitted, progress, the server's histogram; the page."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from flotilla.ops.load import admitted, figures, progress, report_page, server_side
from flotilla.ops.load.verdicts import Verdict
from flotilla.ratelimit.algorithms.rates import parse_rate
from tests.ops.load.reports import report

RATE = parse_rate("10/s burst=5")


def test_the_worst_key_of_each_policy_is_told(tmp_path: Path) -> None:
    def line(policy: str, key: str, asked: int) -> str:
        return json.dumps([policy, key, asked, asked + 1000])

    def told(worker: int, *asked: int) -> None:
        text = "".join(line("publish", "a", moment) + "\n" for moment in asked)
        (tmp_path / f"admitted-{worker}-1.jsonl").write_text(text)

    told(1, *[5_000_000] * 4)
    told(2, 0, 0, 0, *[5_000_000] * 3)  # seven at one moment, and three long before that are no matter
    lines = [*admitted.journal(tmp_path), line("publish", "b", 0), line("other", "a", 0)]
    [held] = admitted.judge({"publish": RATE}, lines)
    assert (held.keys, held.admitted, held.worst) == (2, 11, 2)


def test_a_line_of_progress_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "progress-1-1.jsonl").write_text('{"second": 2}\n{"second": 1}\n{"seco')
    assert [entry["second"] for entry in progress.seconds(tmp_path)] == [1, 2]


def test_the_server_s_p95_is_of_what_came_during_the_run() -> None:
    before = {0.01: 50.0, 0.1: 100.0, math.inf: 100.0}
    after = {0.01: 50.0, 0.1: 200.0, math.inf: 200.0}
    assert server_side.p95(before, after) == pytest.approx(10 + 90 * 0.95)
    assert server_side.p95(after, after) is None
    assert server_side.p95({}, {0.01: 0.0, math.inf: 10.0}) == pytest.approx(10)


def test_whether_server_and_clients_agree_is_said() -> None:
    assert "they agree" in server_side.compared(10, 29.9)
    assert "40 ms APART" in server_side.compared(10, 50)
    assert "no data" in server_side.compared(None, 50)


def test_the_page_shows_verdicts_and_charts_and_escapes_what_it_is_given() -> None:
    told = [
        {
            "second": second,
            "clients": 3,
            "pages": second,
            "delivered": second * 9,
            "denied": 0,
            "p95": 4.5,
            "late": None,
        }
        for second in range(1, 5)
    ]
    verdicts = [Verdict("lost", False, "3 <publications>"), Verdict("p95", True, "4 ms")]
    text = report_page.render("Load: smoke", verdicts, figures.read(report()), told, "")
    assert "3 &lt;publications&gt;" in text
    assert text.count("<polyline") == 5
    assert "FAIL" in text


@pytest.mark.parametrize("name", ["place", "seat"])
def test_what_a_client_of_the_load_counts(name: str) -> None:
    """Lost, doubled and misordered publications, denials and errors, by Node's test runner."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH")
    done = subprocess.run(
        [node, "--test", str(Path(__file__).parent / f"{name}.test.js")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
