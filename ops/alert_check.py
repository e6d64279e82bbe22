"""Whether a running Prometheus and Alertmanager would really tell: rules, targets, data, the way to Alertmanager.

Looks and changes nothing. A rule whose metrics do not exist can never fire, and nobody would notice; so each metric
that a rule names must have a series. The watchdog always fires: that Alertmanager has it proves the way.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from flotilla.ops.prometheus_api import Prometheus, Unreachable, get

# Metrics that may be missing, by how their names begin, and when they are.
OPTIONAL = {
    "flotilla_ratelimit_decisions_total": "no limit is configured",
    "flotilla_tls_certificate_": "no certificate is watched (METRICS_CERTIFICATES)",
    "flotilla_webhook_": "no webhook is configured",
    "flotilla_outbox_": "no database has an outbox",
    "django_http_": "no view of Django was asked yet, or django-prometheus is not installed",
    "haproxy_": "no HAProxy is scraped",
}
HAPROXY = "haproxy_"  # alerts of a file that who has no HAProxy leaves out
WATCHDOG = "watchdog"
PLACEHOLDER = "://flotilla.example/"  # in the address of the documents, as it is shipped
_JOB = re.compile(r'\bup\{job="([^"]+)"')
_METRIC = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?=\{|\[)|\b(flotilla:[a-z0-9_:]+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `state`: ok, fault, fires, note."""

    state: str
    what: str
    text: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check(prometheus_url: str, alertmanager_url: str, expected: Collection[str]) -> list[Finding]:
    """Everything there is to say; `expected` are the alerts that must be loaded."""
    found: list[Finding] = []
    prometheus = Prometheus(prometheus_url)
    try:
        found += _rules(prometheus, expected)
        found += _targets(prometheus)
        found += _data(prometheus)
    except Unreachable as error:
        found.append(Finding("fault", "prometheus", str(error)))
    try:
        found += _alertmanager(prometheus, alertmanager_url)
    except Unreachable as error:
        found.append(Finding("fault", "alertmanager", str(error)))
    return found


def metrics_of(expression: str) -> set[str]:
    """The metrics an expression selects."""
    text = re.sub(r'"(\\.|[^"\\])*"', '""', expression)
    return {first or second for first, second in _METRIC.findall(text)}


def _rules(prometheus: Prometheus, expected: Collection[str]) -> Iterator[Finding]:
    rules = prometheus.rules()
    alerts = {rule["name"] for rule in rules if rule["type"] == "alerting"}
    if not any(name.startswith(HAPROXY) for name in alerts):
        expected = [name for name in expected if not name.startswith(HAPROXY)]
        yield Finding("note", "rules", "those of HAProxy (haproxy.yml) are not loaded")
    for name in sorted(set(expected) - alerts):
        yield Finding("fault", "rules", f"{name} is not loaded: are monitoring/prometheus/rules in rule_files?")
    broken = [rule for rule in rules if rule["health"] == "err"]
    for rule in broken:
        yield Finding("fault", "rules", f"{rule['name']}: {rule.get('lastError', 'it cannot be evaluated')}")
    if not broken and set(expected) <= alerts:
        yield Finding("ok", "rules", f"{len(rules)} rules are loaded, {len(alerts)} alerts among them")


def _targets(prometheus: Prometheus) -> Iterator[Finding]:
    job = _job(prometheus)
    targets = [target for target in prometheus.targets() if target["labels"].get("job") == job]
    if not targets:
        yield Finding("fault", "targets", f'no target of job "{job}": list the instances in targets/flotilla.json')
    for target in targets:
        name, up = target["labels"]["instance"], target["health"] == "up"
        yield Finding("ok" if up else "fault", "targets", f"{name} is up" if up else f"{name}: {target['lastError']}")


def _job(prometheus: Prometheus) -> str:
    """What the rules call our job."""
    queries = (rule["query"] for rule in prometheus.rules() if rule["name"] == "readiness_down")
    found = next(filter(None, (_JOB.search(query) for query in queries)), None)
    return found[1] if found else "flotilla"


def _data(prometheus: Prometheus) -> Iterator[Finding]:
    known = set(prometheus.label_values("__name__"))
    missing: dict[str, list[str]] = {}
    for rule in prometheus.rules():
        for metric in metrics_of(rule["query"]) - known:
            missing.setdefault(metric, []).append(rule["name"])
    recorded = {rule["name"] for rule in prometheus.rules() if rule["type"] == "recording"}
    faults = 0
    for metric, rules in sorted(missing.items()):
        names = ", ".join(sorted(set(rules)))
        why = next((why for beginning, why in OPTIONAL.items() if metric.startswith(beginning)), "")
        if why or metric in recorded:
            why = why or "nothing to work it out from yet"
            yield Finding("note", "data", f"{metric}: {why} ({names})")
        else:
            faults += 1
            yield Finding("fault", "data", f"{metric} has no data, so these can never fire: {names}")
    if not faults:
        yield Finding("ok", "data", "every metric that a rule needs has data")


def _alertmanager(prometheus: Prometheus, url: str) -> Iterator[Finding]:
    status = get(f"{url.rstrip('/')}/api/v2/status")
    yield Finding("ok", "alertmanager", f"version {status['versionInfo']['version']} answers")
    told = prometheus.alertmanagers()
    if told:
        yield Finding("ok", "alertmanager", f"Prometheus tells {', '.join(told)}")
    else:
        yield Finding("fault", "alertmanager", "Prometheus tells no Alertmanager: see `alerting` in prometheus.yml")
    firing = [alert for alert in prometheus.alerts() if alert["state"] == "firing"]
    watchdog = next((alert for alert in firing if alert["labels"]["alertname"] == WATCHDOG), None)
    yield from _way(url, watchdog)
    firing = [alert for alert in firing if alert["labels"].get("severity") != "none"]
    for alert in firing:
        labels = {name: value for name, value in alert["labels"].items() if name not in ("alertname", "job")}
        about = " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        summary = alert["annotations"].get("summary", "")
        yield Finding("fires", "alert", f"{alert['labels']['alertname']} ({about}): {summary}")
    if not firing:
        yield Finding("ok", "alert", "nothing fires")


def _way(url: str, watchdog: dict[str, Any] | None) -> Iterator[Finding]:
    """Whether an alert gets from Prometheus to Alertmanager, and where its link leads."""
    held = get(f"{url.rstrip('/')}/api/v2/alerts?filter=alertname%3D%22{WATCHDOG}%22")
    if watchdog is None:
        yield Finding("fault", "watchdog", "it does not fire, though it always should: are the rules evaluated?")
    elif not held:
        yield Finding("fault", "watchdog", "it fires, but Alertmanager does not have it: alerts do not arrive")
    else:
        yield Finding("ok", "watchdog", "it fires, and Alertmanager has it")
    link = watchdog["annotations"].get("runbook_url", "") if watchdog else ""
    if watchdog and ("://" not in link or PLACEHOLDER in link):
        yield Finding("note", "runbooks", f"alerts lead to {link}: set the external label `runbooks` in prometheus.yml")
