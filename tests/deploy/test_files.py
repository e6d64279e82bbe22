"""What is shipped to deploy with is valid, agrees with what it was made from, and knows every setting."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from project.checks import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MONITORING = ROOT / "monitoring"
COMPOSE = ("docker-compose.yml", "docker-compose.tls.yml")
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.33"


def run(*words: str) -> None:
    """Run a tool; its complaint is the failure."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_file_follows_the_specification(name: str) -> None:
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", name)


def test_no_secret_is_in_a_compose_file() -> None:
    for name in COMPOSE:
        for variable, value in re.findall(r"(\w*(?:SECRET|PASSWORD|KEYS?)\w*): (\S+)", (ROOT / name).read_text()):
            assert value == f"${{{variable}:-}}" or variable.endswith("_FILE") or value == '"true"', (variable, value)


def test_compose_gives_only_settings_there_are_and_the_example_names_what_it_takes() -> None:
    text = (ROOT / COMPOSE[0]).read_text()
    for name in load(ROOT / COMPOSE[0])["x-environment"]:
        assert name.removesuffix("_FILE") in VARIABLES, name
    example = set(re.findall(r"^#(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    taken = set(re.findall(r"\$\{(\w+)", text + (ROOT / COMPOSE[1]).read_text()))
    assert taken - example == {"PIP_EXTRA_INDEX_URL"}
    assert example <= taken


def test_compose_trusts_the_balancer_and_nobody_else() -> None:
    """Not a network in which clients can be: their word about others' addresses would count."""
    compose = load(ROOT / COMPOSE[0])
    trusted = compose["x-environment"]["RATE_LIMIT_TRUSTED_PROXIES"]
    assert trusted == compose["services"]["haproxy"]["networks"]["default"]["ipv4_address"]
    assert "/" not in trusted and "," not in trusted


def test_haproxy_hands_on_nothing_that_a_client_says_about_its_way() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text()
    for name in ("Daphne-Root-Path", "Forwarded", "X-Real-IP"):
        assert f"http-request del-header {name}\n" in text
    assert "http-request set-header X-Forwarded-For %[src]\n" in text


def test_what_waits_for_a_drain_waits_longer_than_it_may_take() -> None:
    grace = load(ROOT / COMPOSE[0])["x-backend"]["stop_grace_period"]
    deadline = re.search(r"DRAIN_DEADLINE: \$\{DRAIN_DEADLINE:-(\d+)\}", (ROOT / COMPOSE[0]).read_text())
    assert deadline is not None and int(grace.removesuffix("s")) >= int(deadline[1]) + 5


def test_prometheus_is_set_up_as_the_shipped_one_but_for_addresses() -> None:
    shipped, own = (load(folder / "prometheus" / "prometheus.yml") for folder in (MONITORING, DEPLOY))
    assert own["global"] == shipped["global"]
    jobs = {job["job_name"]: job for job in own["scrape_configs"]}
    assert jobs["flotilla"]["file_sd_configs"] == shipped["scrape_configs"][0]["file_sd_configs"]
    assert own["alerting"]["alert_relabel_configs"] == shipped["alerting"]["alert_relabel_configs"]
    targets = json.loads((DEPLOY / "prometheus" / "targets" / "flotilla.json").read_text())
    (found,) = (one for one in jobs["flotilla"]["relabel_configs"] if one["target_label"] == "cluster")
    (balancer,) = jobs["haproxy"]["static_configs"]
    assert found["replacement"] == balancer["labels"]["cluster"] == targets[0]["labels"]["cluster"]
    services = load(ROOT / COMPOSE[0])["services"]
    expected = [name for name, service in services.items() if "backend" in name and "profiles" not in service]
    assert targets[0]["targets"] == [f"{name}:9400" for name in expected]


@pytest.mark.parametrize(
    ("own", "shipped"),
    [
        ("alertmanager.yml", "alertmanager/alertmanager.yml"),
        ("grafana/datasources/prometheus.yml", "grafana/provisioning/datasources/prometheus.yml"),
    ],
)
def test_a_copy_differs_from_the_shipped_file_in_addresses_alone(own: str, shipped: str) -> None:
    def without_addresses(path: Path) -> str:
        return re.sub(r"//[\w.]+:", "//HOST:", json.dumps(load(path)))

    assert without_addresses(DEPLOY / own) == without_addresses(MONITORING / shipped)


@pytest.mark.parametrize("certificates", [False, True])
def test_haproxy_takes_its_configuration(tmp_path: Path, certificates: bool) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("no haproxy on the PATH")
    words = ["haproxy", "-c", "-q", "-f", str(DEPLOY / "haproxy.cfg")]
    if certificates:
        pem = tmp_path / "site.pem"
        options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
        run("openssl", "req", *options, "-keyout", str(pem), "-out", str(tmp_path / "cert.pem"))
        pem.write_text(pem.read_text() + (tmp_path / "cert.pem").read_text())
        words = ["env", f"TLS_CERTIFICATES={tmp_path / 'site.pem'}", *words]
    run(*words)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("haproxy.cfg", ["timeout tunnel"]), ("nginx.conf", ["proxy_read_timeout", "proxy_send_timeout"])],
)
def test_balancer_counts_on_a_ping_that_comes_sooner_than_it_gives_up(name: str, settings: list[str]) -> None:
    from flotilla.realtime.conf import RealtimeConfig

    least = 2 * (RealtimeConfig().ping_interval + RealtimeConfig().pong_timeout)
    text = (DEPLOY / name).read_text()
    for setting in settings:
        found = re.search(rf"{setting} (\d+)s", text)
        assert found is not None and int(found[1]) >= least


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_manifest_follows_the_schema_of_its_kind(manifest: Path) -> None:
    import kubernetes_validate

    for one in yaml.safe_load_all(manifest.read_text()):
        if one["kind"] != "Kustomization":
            kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_kubernetes_waits_for_a_drain_and_names_every_manifest() -> None:
    everything = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]
    (kustomization,) = (one for one in everything if one["kind"] == "Kustomization")
    assert {*kustomization["resources"], "kustomization.yaml"} == {path.name for path in MANIFESTS}
    (backend,) = (one for one in everything if one["kind"] == "Deployment")
    pod = backend["spec"]["template"]["spec"]
    settings = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] >= int(settings["DRAIN_DEADLINE"]) + 5
    assert {name.removesuffix("_FILE") for name in settings} <= set(VARIABLES)


def _kubernetes(kind: str) -> dict[str, Any]:
    """The manifests of a kind, by name."""
    everything = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]
    return {one["metadata"]["name"]: one for one in everything if one["kind"] == kind}


def _rules(policy: dict[str, Any]) -> list[tuple[int, list[dict[str, Any]]]]:
    """Each port that a policy opens, and to whom."""
    return [(port["port"], rule["from"]) for rule in policy["spec"].get("ingress", []) for port in rule["ports"]]


def test_kubernetes_opens_each_port_to_those_who_need_it_alone() -> None:
    policies = _kubernetes("NetworkPolicy")
    assert policies["nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    http, metrics = _rules(policies["flotilla"])
    assert (http[0], metrics[0]) == (8000, 9400)
    for (peer,) in (http[1], metrics[1]):
        assert peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] not in ("", "flotilla")
    assert http[1][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "controller"
    backend, redis = _kubernetes("Deployment")["flotilla"], _kubernetes("StatefulSet")["redis"]
    assert _rules(policies["redis"]) == [(6379, [{"podSelector": backend["spec"]["selector"]}])]
    for pods in (backend, redis):
        policy = policies[pods["metadata"]["name"]]
        assert policy["spec"]["podSelector"] == pods["spec"]["selector"]
        ports = {port["containerPort"] for port in pods["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert ports == {port for port, _ in _rules(policy)}


def test_kubernetes_believes_no_more_than_a_few_addresses() -> None:
    (container,) = _kubernetes("Deployment")["flotilla"]["spec"]["template"]["spec"]["containers"]
    settings = {one["name"]: one.get("value") for one in container["env"]}
    assert all(ip_network(one).num_addresses <= 256 for one in settings["RATE_LIMIT_TRUSTED_PROXIES"].split(","))


def test_kubernetes_values_are_explained_and_those_to_change_are_marked() -> None:
    for name in ("backend.yaml", "ingress.yaml"):
        lines = (DEPLOY / "kubernetes" / name).read_text().splitlines()
        for before, line in itertools.pairwise(lines):
            if re.match(r" +- (\{?name: [A-Z_]+\b|nginx\.ingress)|    nginx\.ingress", line):
                assert before.strip().startswith("# "), line
            if "example.com" in line and name == "backend.yaml":
                assert "CHANGE" in before, line


def test_document_builds_the_image_that_kubernetes_runs() -> None:
    (image,) = load(DEPLOY / "kubernetes" / "kustomization.yaml")["images"]
    built = f"docker build -t {image['newName']}:{image['newTag']} ."
    assert built in (ROOT / "docs" / "SCALE_OUT.md").read_text()
    jobs = [*_kubernetes("Deployment").values(), *_kubernetes("Job").values()]
    assert {job["spec"]["template"]["spec"]["containers"][0]["image"] for job in jobs} == {image["name"]}
