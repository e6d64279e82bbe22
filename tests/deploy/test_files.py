"""What is shipped to deploy with is valid, agrees with what it was made from, and knows every setting."""

import json
import re
import shutil
import subprocess
import sys
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


def test_every_image_has_a_tag() -> None:
    named = [service.get("image", "") for service in load(ROOT / COMPOSE[0])["services"].values()]
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for image in [*named, *bases]:
        assert re.search(r":(?!latest)\S+$", image), image


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
    targets = json.loads((DEPLOY / "prometheus" / "targets" / "flotilla.json").read_text())
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


def test_haproxy_counts_on_a_ping_that_comes_sooner_than_it_gives_up() -> None:
    from realtime.conf import RealtimeConfig

    text = (DEPLOY / "haproxy.cfg").read_text()
    tunnel = re.search(r"timeout tunnel (\d+)s", text)
    assert tunnel is not None and int(tunnel[1]) >= 2 * (RealtimeConfig().ping_interval + RealtimeConfig().pong_timeout)


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
