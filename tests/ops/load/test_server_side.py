"""The server's own figures of a run, beside the clients'."""

import math

import pytest

from flotilla.ops.load import server_side


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
