"""The rules for other places: current, valid for the Prometheus Operator, and right under another name of the job."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flotilla.ops.alert_rules import FILES, HAPROXY, RULES, Choices, for_kubernetes, for_prometheus, main

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
SCHEMAS = ROOT / "tests" / "deploy" / "schemas"
OURS = Choices(runbooks="https://docs.example.com/operations.html")


def promtool(*words: str) -> None:
    """Run it; its complaint is the failure."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on the PATH")
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def strict(schema: Any) -> Any:
    """A schema that takes no property it does not name, as the API server prunes them."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(part) for name, part in schema.items()}
    if isinstance(pattern := closed.get("pattern"), str):  # Go's, which may have its flags anywhere
        closed["pattern"] = re.sub(r"^\^(\(\?i\))", r"\1^", pattern)
    if "properties" in schema and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


def test_what_is_shipped_for_kubernetes_is_what_the_command_makes(tmp_path: Path) -> None:
    """Otherwise: python -m flotilla.ops.alert_rules --kubernetes --into deploy/kubernetes/monitoring"""
    main(["--kubernetes", "--into", str(tmp_path)])
    for made in tmp_path.iterdir():
        assert made.read_text() == (KUBERNETES / "monitoring" / made.name).read_text(), made.name
    listed = yaml.safe_load((KUBERNETES / "monitoring" / "kustomization.yaml").read_text())
    assert {*listed["resources"]} == {path.name for path in tmp_path.iterdir()}
    assert {*listed["resources"], "kustomization.yaml"} == {p.name for p in (KUBERNETES / "monitoring").iterdir()}


@pytest.mark.parametrize("name", ["podmonitor.yaml", "rules.yaml"])
def test_manifest_follows_the_schema_of_its_kind(name: str) -> None:
    manifest = yaml.safe_load(for_kubernetes(OURS)[name])
    schema = strict(json.loads((SCHEMAS / f"{manifest['kind']}.json").read_text()))
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(manifest, schema)
    broken = manifest | {"spec": manifest["spec"] | {"grups": []}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_rules_for_the_operator_are_those_of_the_files_but_for_haproxy(tmp_path: Path) -> None:
    """The same expressions, each group once, and a Prometheus takes them."""
    spec = yaml.safe_load(for_kubernetes(OURS)["rules.yaml"])["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(spec))
    promtool("check", "rules", str(tmp_path / "rules.yml"))
    of_files = [
        group
        for path in sorted(RULES.glob("*.yml"))
        if path.name != HAPROXY
        for group in yaml.safe_load(path.read_text().replace("{{ $externalLabels.runbooks }}", OURS.runbooks))["groups"]
    ]
    assert spec["groups"] == of_files


def test_pods_are_found_by_their_labels_and_port() -> None:
    spec = yaml.safe_load(for_kubernetes(OURS)["podmonitor.yaml"])["spec"]
    backend = yaml.safe_load_all((KUBERNETES / "backend.yaml").read_text())
    (template,) = (one["spec"]["template"] for one in backend if one["kind"] == "Deployment")
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    shipped = yaml.safe_load((FILES / "prometheus.yml").read_text())["global"]
    assert endpoint["interval"] == shipped["scrape_interval"]
    assert endpoint["scrapeTimeout"] == shipped["scrape_timeout"]
    relabelled = {one["targetLabel"]: one for one in endpoint["relabelings"]}
    assert relabelled["cluster"]["sourceLabels"] == ["__meta_kubernetes_namespace"]
    assert relabelled["job"]["replacement"] == "flotilla"


@pytest.mark.timeout(320)
@pytest.mark.parametrize("tests", ["readiness.yml", "clusters.yml"])
def test_every_rule_follows_the_name_of_the_job(tmp_path: Path, tests: str) -> None:
    """The rules' own tests hold under another name, with series of that name."""
    for name, text in for_prometheus(Choices(job="prod/realtime")).items():
        (tmp_path / "rules").mkdir(exist_ok=True)
        (tmp_path / "rules" / name).write_text(text)
        assert set(re.findall(r'\bjob=~?"([^"]*)"', text)) <= {"prod/realtime", "haproxy"}
    (tmp_path / "tests").mkdir()
    text = (FILES / "tests" / tests).read_text().replace('job="flotilla"', 'job="prod/realtime"')
    (tmp_path / "tests" / tests).write_text(text.replace("job: flotilla", "job: prod/realtime"))
    promtool("test", "rules", str(tmp_path / "tests" / tests))


def test_the_address_of_the_documents_is_in_each_rule(tmp_path: Path) -> None:
    main(["--runbooks", "https://wiki.example.com/flotilla", "--into", str(tmp_path)])
    for path in tmp_path.iterdir():
        links = re.findall(r'runbook_url: "(.*)"', path.read_text())
        assert all(re.fullmatch(r"https://wiki\.example\.com/flotilla#\w+", link) for link in links), links


@pytest.mark.parametrize(
    "words",
    [["--job", 'a"b'], ["--job", ""], ["--runbooks", "docs/OPERATIONS.md"], ["--runbooks", "https://x/#y"],
     ["--rules-label", "release"]],
)  # fmt: skip
def test_a_wrong_choice_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert words[-1] in capsys.readouterr().err
