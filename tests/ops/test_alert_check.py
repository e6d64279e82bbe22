"""`manage.py check_alerts` against a real Prometheus and Alertmanager with the files that are shipped."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from flotilla.command_line import Status
from flotilla.ops.alert_check import metrics_of
from flotilla.ops.drill.processes import wait_for
from flotilla.ops.drill.session import BY_NAME
from flotilla.ops.drill.stack import Stack

WITHIN = 60.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """An installation; its limits may be there or not."""
    for name in ("prometheus", "prometheus-alertmanager", "redis-server"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} on the PATH")
    with Stack() as running:
        yield running


def ask(stack: Stack, capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[list[dict[str, str]], int]:
    """The findings and the exit status."""
    addresses = {"prometheus": stack.prometheus.url, "alertmanager": stack.alertmanager_url} | options
    status = 0
    try:
        call_command("check_alerts", as_json=True, **addresses)
    except CommandError as error:
        status = error.returncode
    return json.loads(capsys.readouterr().out)["findings"], status


def test_a_whole_installation_has_no_fault(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules loaded, targets up, data for every rule, a way to Alertmanager; readable for people too."""

    def whole() -> bool:
        found, status = ask(stack, capsys)
        return status == 0 and all(finding["state"] in ("ok", "note") for finding in found)

    wait_for(whole, "the recording rules have been worked out", WITHIN)
    found, _ = ask(stack, capsys)
    looked_at = {"rules", "targets", "data", "alertmanager", "watchdog", "runbooks", "alert"}
    assert {finding["what"] for finding in found} == looked_at
    assert all(finding["state"] == "ok" for finding in found if finding["what"] == "watchdog")
    wait_for(lambda: "/watchdog" in stack.receiver.paths, "the watchdog's own receiver hears it", WITHIN)
    assert stack.receiver.paths.pop("/watchdog") == {"watchdog"}
    assert not any("watchdog" in names for names in stack.receiver.paths.values()), "it wakes nobody"
    assert sum(finding["what"] == "targets" for finding in found) == 2
    call_command("check_alerts", prometheus=stack.prometheus.url, alertmanager=stack.alertmanager_url)
    assert "nothing fires" in capsys.readouterr().out


@pytest.mark.timeout(6 * WITHIN)
def test_what_is_down_or_not_there_is_named(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """An instance, Alertmanager, Prometheus: each with exit status 1."""
    nowhere = "http://127.0.0.1:9"
    found, status = ask(stack, capsys, alertmanager=nowhere)
    assert status == 1
    assert [f["what"] for f in found if f["state"] == "fault"] == ["alertmanager"]
    found, status = ask(stack, capsys, prometheus=nowhere)
    assert status == 1
    assert any(f["state"] == "fault" and nowhere in f["text"] for f in found)
    stack.receiver.paths.clear()  # what was told while all of it started
    stack.instances[0].kill()
    try:

        def named() -> bool:
            found, status = ask(stack, capsys)
            faults = [f["text"] for f in found if (f["what"], f["state"]) == ("targets", "fault")]
            return status == 1 and any(stack.target(0) in text for text in faults)

        wait_for(named, "the killed instance is a fault", WITHIN)
        wait_for(lambda: "/ticket" in stack.receiver.paths, "a warning comes to the tickets", WITHIN)
        assert "readiness_down" in stack.receiver.paths["/ticket"]
        assert "/page" not in stack.receiver.paths, "the other instance is ready: nobody is woken"
    finally:
        stack.instances[0].start()
    wait_for(lambda: ask(stack, capsys)[1] == 0, "it is whole again", WITHIN)


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ('app_ready{job="flotilla"} == 0 or up{job="flotilla"} == 0', {"app_ready", "up"}),
        ('rate(a_total[5m]) / on (instance) b_total{x="sum(y{})"}', {"a_total", "b_total"}),
        ("flotilla:errors:ratio_rate1h > 14.4 * 0.001", {"flotilla:errors:ratio_rate1h"}),
        (
            "sum by (le) (x_bucket{}) unless avg_over_time(flotilla:z:rate1m[1h] offset 2m)",
            {"x_bucket", "flotilla:z:rate1m"},
        ),
    ],
)
def test_the_metrics_of_an_expression(expression: str, metrics: set[str]) -> None:
    """Names of functions, labels and words in strings are none."""
    assert metrics_of(expression) == metrics


def test_an_unknown_drill_is_refused() -> None:
    """With the names there are, before anything is started; the line was wrong, not the installation."""
    with pytest.raises(CommandError) as failed:
        call_command("check_alerts", drill=["readiness_down", "nosuch"])
    assert str(failed.value).startswith("no drill 'nosuch'; there are readiness_down, ")
    assert all(name in str(failed.value) for name in (*BY_NAME, "short", "all"))
    assert failed.value.returncode == Status.USAGE
