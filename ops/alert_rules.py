"""Makes alert rules for other places of those that are shipped: `python -m flotilla.ops.alert_rules`.

    python -m flotilla.ops.alert_rules --into FOLDER [--job NAME] [--runbooks URL]
        the rule files for a Prometheus, for another name of the job, with the address of the documents in them
    python -m flotilla.ops.alert_rules --kubernetes --into FOLDER [--job NAME] [--runbooks URL] [--rules-label N=V]
        for the Prometheus Operator: a PodMonitor, and a PrometheusRule of the same rules

Without `--into` everything goes to standard output. `deploy/kubernetes/monitoring/` is what the second makes; a test
sees that it is current. The rules are taken as text, so that their comments stay. Those of HAProxy are left out for
Kubernetes, where an ingress balances.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from flotilla import monitoring

FILES = Path(monitoring.__file__).parent / "prometheus"
RULES = FILES / "rules"
HAPROXY = "haproxy.yml"
JOB = "flotilla"
RUNBOOKS = "{{ $externalLabels.runbooks }}"  # what a rule has for the address of the operations document
KUBERNETES_RUNBOOKS = "https://flotilla.example/docs/OPERATIONS.md"  # as in prometheus.yml
KUBERNETES_LABEL = "release=kube-prometheus-stack"
_JOB = re.compile(r"[A-Za-z0-9_./-]+")


@dataclass(frozen=True, slots=True)
class Choices:
    """What differs from the shipped rules. `runbooks` "": the external label stays, as in prometheus.yml."""

    job: str = JOB
    runbooks: str = ""
    rules_label: str = KUBERNETES_LABEL

    def apply(self, rules: str) -> str:
        """The text of rules with the name of the job and the address of the documents."""
        rules = rules.replace(f'job="{JOB}"', f'job="{self.job}"')
        return rules.replace(RUNBOOKS, self.runbooks) if self.runbooks else rules


def for_prometheus(choices: Choices) -> dict[str, str]:
    """Each rule file by its name."""
    return {path.name: choices.apply(path.read_text()) for path in sorted(RULES.glob("*.yml"))}


def for_kubernetes(choices: Choices) -> dict[str, str]:
    """Manifests by their file's name."""
    files = {name: text for name, text in for_prometheus(choices).items() if name != HAPROXY}
    return {"podmonitor.yaml": _pod_monitor(choices), "rules.yaml": _rule_manifest(files, choices)}


def _rule_manifest(files: dict[str, str], choices: Choices) -> str:
    """One PrometheusRule of the groups of all files."""
    lines = [line for text in files.values() for line in _groups(text)]
    return (
        RULE_HEAD + _labels(choices) + "spec:\n  groups:\n" + "".join(f"  {line}\n" if line else "\n" for line in lines)
    )


def _groups(text: str) -> list[str]:
    """The lines of a file's groups. Its head is about Prometheus's own files."""
    _, _, groups = text.partition("\ngroups:\n")
    return groups.splitlines()


def _pod_monitor(choices: Choices) -> str:
    text = (FILES / "prometheus.yml").read_text()
    times = {
        name: re.search(rf"^  {name}: (\w+)", text, re.MULTILINE) for name in ("scrape_interval", "scrape_timeout")
    }
    interval, timeout = (found[1] if found else "" for found in times.values())
    head, _, spec = POD_MONITOR.partition("spec:\n")
    spec = spec.replace("INTERVAL", interval).replace("TIMEOUT", timeout).replace("JOB", choices.job)
    return head + _labels(choices) + "spec:\n" + spec


def _labels(choices: Choices) -> str:
    name, _, value = choices.rules_label.partition("=")
    return f"  labels:  # CHANGE: those by which your Prometheus selects monitors and rules\n    {name}: {value}\n"


RULE_HEAD = """\
# The alert rules, for the Prometheus Operator. Made by `python -m flotilla.ops.alert_rules --kubernetes`, of
# monitoring/prometheus/rules/; change it there, or make it again with your own --runbooks and --rules-label.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: flotilla
"""
POD_MONITOR = """\
# Each instance is a target of its own, for the Prometheus Operator. Made by
# `python -m flotilla.ops.alert_rules --kubernetes`; a change is lost when it is made again.
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: flotilla
spec:
  selector:
    matchLabels: {app.kubernetes.io/name: flotilla}
  podMetricsEndpoints:
    - port: metrics
      interval: INTERVAL
      scrapeTimeout: TIMEOUT
      relabelings:
        # The name that rules and dashboards ask for.
        - targetLabel: job
          replacement: JOB
        # Every rule is by cluster: here, by namespace.
        - sourceLabels: [__meta_kubernetes_namespace]
          targetLabel: cluster
        # As presence and logs call it (INSTANCE_ID).
        - sourceLabels: [__meta_kubernetes_pod_name]
          targetLabel: instance
"""


def main(arguments: list[str] | None = None) -> None:
    """Write them. Ends with status 2 and a message where a choice is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubernetes", action="store_true", help="a PodMonitor and a PrometheusRule")
    parser.add_argument("--job", default=JOB, help=f"what Prometheus calls the job [{JOB}]")
    parser.add_argument("--runbooks", default="", help="absolute address of the operations document")
    parser.add_argument("--rules-label", default=KUBERNETES_LABEL, help=f"the operator selects by [{KUBERNETES_LABEL}]")
    parser.add_argument("--into", type=Path, help="a folder; without it, standard output")
    chosen = parser.parse_args(arguments)
    if not _JOB.fullmatch(chosen.job):
        parser.error(f"{chosen.job!r} cannot be the name of a job here: letters, digits, `_`, `.`, `/` and `-`")
    if chosen.runbooks and not re.fullmatch(r"https?://[^\s\"'#{}]+", chosen.runbooks):
        parser.error(f"{chosen.runbooks!r} is not an absolute address without an anchor: https://…")
    if not re.fullmatch(r"[\w./-]+=[\w.-]+", chosen.rules_label):
        parser.error(f"{chosen.rules_label!r} is not a label: name=value")
    runbooks = chosen.runbooks or (KUBERNETES_RUNBOOKS if chosen.kubernetes else "")
    make = for_kubernetes if chosen.kubernetes else for_prometheus
    files = make(Choices(chosen.job, runbooks, chosen.rules_label))
    if chosen.into is None:
        sys.stdout.write("---\n".join(files.values()) if chosen.kubernetes else "".join(files.values()))
        return
    chosen.into.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (chosen.into / name).write_text(text)


if __name__ == "__main__":
    main()
