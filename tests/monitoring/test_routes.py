"""Alertmanager with the shipped file: each severity has its receiver, and what follows from another is not told."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flotilla.ops.drill.processes import Program, free_ports, program, wait_for
from flotilla.ops.drill.stack import answers
from flotilla.ops.prometheus_api import get

FILES = Path(__file__).resolve().parents[2] / "monitoring" / "alertmanager"
WITHIN = 60.0
Labels = dict[str, str]


def alert(name: str, severity: str = "warning", cluster: str = "prod", **labels: str) -> Labels:
    return {"alertname": name, "severity": severity, "cluster": cluster} | labels


NOBODY = alert("readiness_down", "critical")


def test_alertmanager_takes_its_configuration() -> None:
    if shutil.which("amtool") is None:
        pytest.skip("no amtool on the PATH")
    words = ["amtool", "check-config", str(FILES / "alertmanager.yml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [(NOBODY, "page"), (alert("refills"), "ticket"), (alert("watchdog", "none"), "watchdog")],
    ids=["critical", "warning", "watchdog"],
)
def test_each_severity_has_its_receiver(labels: Labels, receiver: str) -> None:
    if shutil.which("amtool") is None:
        pytest.skip("no amtool on the PATH")
    words = ["amtool", "config", "routes", "test", f"--config.file={FILES / 'alertmanager.yml'}"]
    words += [f"{name}={value}" for name, value in labels.items()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [receiver], done.stderr


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one that has the shipped file; nobody receives."""
    if shutil.which("prometheus-alertmanager") is None:
        pytest.skip("no prometheus-alertmanager on the PATH")
    home = tmp_path_factory.mktemp("alertmanager")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    words = [f"--config.file={FILES / 'alertmanager.yml'}", f"--storage.path={home}"]
    words += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    one = Program("alertmanager", home, [program("prometheus-alertmanager", "alertmanager"), *words])
    one.start()
    try:
        wait_for(lambda: answers(f"{url}/api/v2/status"), "Alertmanager answers", WITHIN)
        yield url
    finally:
        one.stop()


def inhibited(url: str, alerts: list[Labels]) -> list[Labels]:
    """Those of these alerts, all firing, that another one keeps from being told."""
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    body = json.dumps([{"labels": labels, "startsAt": began, "endsAt": ends} for labels in alerts]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()
    clusters = {labels["cluster"] for labels in alerts}

    def held() -> list[dict[str, Any]]:
        return [one for one in get(f"{url}/api/v2/alerts") if one["labels"]["cluster"] in clusters]

    wait_for(lambda: len(held()) == len(alerts) and all(one["status"]["state"] != "unprocessed" for one in held()),
             "Alertmanager has seen them", WITHIN)  # fmt: skip
    silenced = [one["labels"] for one in held() if one["status"]["inhibitedBy"]]
    return [labels for labels in alerts if labels in silenced]


A, B = {"instance": "a"}, {"instance": "b"}
CASES: dict[str, tuple[list[Labels], list[Labels]]] = {  # what is told, what is not
    "nobody is ready: what follows from it": (
        [NOBODY],
        [alert("readiness_down", **A), alert("haproxy_no_server", "critical"), alert("slo_errors_burn", "critical"),
         alert("haproxy_sees_fewer"), alert("event_loop_lag", **A), alert("admission_queue", **A)],
    ),
    "nobody is ready: its causes, and what else must be known": (
        [NOBODY, alert("redis_errors", "critical", shard="0"), alert("certificate_expiry"), alert("crash_loop", **A),
         alert("publications_lost", **A), alert("redis_persistence", shard="0"),
         alert("webhook_events_dropped", endpoint="crm"), alert("outbox_set_aside", database="default")],
        [],
    ),
    "of another cluster everything is told": (
        [NOBODY, alert("readiness_down", cluster="other", **A)],
        [],
    ),
    "Redis fails: what cannot work without it": (
        [alert("redis_errors", "critical", shard="0", **A), alert("publications_lost", **A),
         alert("webhook_events_dropped", endpoint="crm")],
        [alert("limiter_degraded", **B), alert("channels_not_live", **A), alert("slo_errors_burn", "critical"),
         alert("lease_lost", **A), alert("webhook_undelivered", endpoint="crm", of="waiting"),
         alert("outbox_delayed", database="default")],
    ),
    "an instance is not there: its own troubles, not those of others": (
        [alert("readiness_down", **A), alert("event_loop_lag", **B), alert("slow_consumers", **A)],
        [alert("event_loop_lag", **A), alert("lease_lost", **A)],
    ),
    "it crashes again and again: that it is away now and then": (
        [alert("crash_loop", **A), alert("readiness_down", **B)],
        [alert("readiness_down", **A)],
    ),
    "its core is full: that its loop is late": (
        [alert("cpu_saturation", **A), alert("event_loop_lag", **B)],
        [alert("event_loop_lag", **A), alert("redis_slow", shard="0", **A)],
    ),
    "the same, worse; of the same Redis and certificate only": (
        [alert("redis_memory", "critical", shard="0"), alert("redis_memory", shard="1"),
         alert("certificate_expiry", "critical", certificate="x"), alert("certificate_expiry", certificate="y"),
         alert("slo_latency_burn", "critical", window="1h")],
        [alert("redis_memory", shard="0"), alert("certificate_expiry", certificate="x"),
         alert("slo_latency_burn", window="3d")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_follows_from_something_else_is_not_told(alertmanager: str, case: str) -> None:
    own = f"case-{list(CASES).index(case)}"  # so that cases do not meet
    told, silent = ([labels | {"cluster": f"{own}-{labels['cluster']}"} for labels in part] for part in CASES[case])
    assert inhibited(alertmanager, [*told, *silent]) == silent
