"""What is shipped to deploy with is valid, agrees with what it was made from, and knows every setting."""

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from project.checks import VARIABLES
from tests.cluster.support.processes import wait_until

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
    ours = {name for name in kustomization["resources"] if name.endswith(".yaml")}  # folders have their own
    assert {*ours, "kustomization.yaml"} == {path.name for path in MANIFESTS}
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
    assert policies["nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
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


def test_kubernetes_lets_each_pod_call_those_whom_it_needs_alone() -> None:
    """Redis nobody; migrations the database; instances Redis and the database; both the names' server."""
    called: dict[str, set[int]] = {}
    for name, policy in _kubernetes("NetworkPolicy").items():
        for rule in policy["spec"].get("egress", []):
            assert rule["to"], "an empty list is everybody"
            assert all(
                ip_network(peer["ipBlock"]["cidr"]).num_addresses == 1 for peer in rule["to"] if "ipBlock" in peer
            )
            called.setdefault(name, set()).update(port["port"] for port in rule["ports"])
        assert "Egress" in policy["spec"]["policyTypes"]
    assert called == {"flotilla": {6379, 5432}, "flotilla-migrate": {5432}, "names": {53}}
    (named,) = _kubernetes("NetworkPolicy")["names"]["spec"]["podSelector"]["matchExpressions"]
    assert set(named["values"]) == {"flotilla", "flotilla-migrate"}


def test_kubernetes_leaves_the_number_of_instances_to_the_autoscaler() -> None:
    assert "replicas" not in _kubernetes("Deployment")["flotilla"]["spec"]
    autoscaler, budget = (_kubernetes(kind)["flotilla"]["spec"] for kind in AROUND)
    assert autoscaler["scaleTargetRef"]["name"] == "flotilla"
    assert autoscaler["minReplicas"] - budget["maxUnavailable"] >= 1


AROUND = ("HorizontalPodAutoscaler", "PodDisruptionBudget")


def test_redis_of_kubernetes_is_that_of_compose() -> None:
    (container,) = _kubernetes("StatefulSet")["redis"]["spec"]["template"]["spec"]["containers"]
    compose = load(ROOT / COMPOSE[0])["services"]["redis"]
    command = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", compose["command"])
    assert ["redis-server", *container["args"]] == shlex.split(command)
    assert container["image"] == re.sub(r"\$\{IMAGE_DIGEST-(.*)\}", r"\1", compose["image"])
    assert container["resources"]["limits"]["memory"] == compose["mem_limit"].replace("m", "Mi")
    grace = _kubernetes("StatefulSet")["redis"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert f"{grace}s" == compose["stop_grace_period"]


def test_redis_takes_what_kubernetes_and_compose_give_it(tmp_path: Path) -> None:
    (container,) = _kubernetes("StatefulSet")["redis"]["spec"]["template"]["spec"]["containers"]
    socket = tmp_path / "redis.sock"
    words = ["redis-server", *container["args"], "--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until(socket.exists, "Redis listens")

            def told(name: str) -> str:
                asked = ["redis-cli", "-s", str(socket), "config", "get", name]
                return subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.splitlines()[1]

            assert "pubsub 67108864 33554432 60" in told("client-output-buffer-limit")
            assert (told("maxmemory"), told("save"), told("appendonly")) == (str(400 * 2**20), "", "yes")
            probes = {container[name]["exec"]["command"][-1] for name in ("startupProbe", "readinessProbe")}
            (probe,) = (probe.replace("redis-cli", f"redis-cli -s {socket}") for probe in probes)
            assert subprocess.run(["sh", "-c", probe], timeout=20).returncode == 0
            subprocess.run(
                ["redis-cli", "-s", str(socket), "config", "set", "requirepass", "x"], timeout=20, check=True
            )
            assert subprocess.run(["sh", "-c", probe], timeout=20, stderr=subprocess.DEVNULL).returncode != 0
        finally:
            server.terminate()


def test_kubernetes_pods_may_do_nothing_that_they_need_not() -> None:
    """As Pod Security's level `restricted`, which the namespace enforces, and a root file system that is read-only."""
    (namespace,) = _kubernetes("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for owner in (
        *_kubernetes("Deployment").values(),
        *_kubernetes("StatefulSet").values(),
        *_kubernetes("Job").values(),
    ):
        pod = owner["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= set(container["resources"])


def test_kubernetes_restarts_what_hangs_and_nothing_that_drains_or_waits_for_redis() -> None:
    (container,) = _kubernetes("Deployment")["flotilla"]["spec"]["template"]["spec"]["containers"]
    asked = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    settings = {one["name"]: one.get("value") for one in container["env"]}
    noticed = container["readinessProbe"]["periodSeconds"] * container["readinessProbe"]["failureThreshold"]
    assert int(settings["DRAIN_GRACE"]) > noticed, "else the pod closes its port while it still gets clients"
    hangs = container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"]
    assert hangs > int(settings["DRAIN_DEADLINE"])


def test_kubernetes_believes_no_more_than_a_few_addresses() -> None:
    (container,) = _kubernetes("Deployment")["flotilla"]["spec"]["template"]["spec"]["containers"]
    settings = {one["name"]: one.get("value") for one in container["env"]}
    assert all(ip_network(one).num_addresses <= 256 for one in settings["RATE_LIMIT_TRUSTED_PROXIES"].split(","))


EXPLAINED = (
    r" +(automountServiceAccountToken|terminationGracePeriodSeconds|runAsNonRoot|seccompProfile|startupProbe"
    r"|readinessProbe|livenessProbe|requests|limits|allowPrivilegeEscalation|target|minReplicas|stabilization\w+"
    r"|rollingUpdate|maxSurge|--\w+):?"
)


def test_kubernetes_values_are_explained_and_those_to_change_are_marked() -> None:
    for name in ("backend.yaml", "redis.yaml", "ingress.yaml"):
        lines = (DEPLOY / "kubernetes" / name).read_text().splitlines()
        for before, line in itertools.pairwise(lines):
            if re.match(rf" +- (\{{?name: [A-Z_]+\b|nginx\.ingress)|    nginx\.ingress|{EXPLAINED}", line):
                assert before.strip().startswith("# "), line
            if "example.com" in line and name == "backend.yaml":
                assert "CHANGE" in before, line


def test_image_has_the_driver_of_postgresql() -> None:
    """It installs what the lock file has, built for every machine; `make test-compose` imports it there."""
    lock = (ROOT / "requirements.lock").read_text()
    assert re.search(r"^psycopg==", lock, re.MULTILINE) and re.search(r"^psycopg-binary==", lock, re.MULTILINE)
    assert "requirements.lock" in (ROOT / "Dockerfile").read_text()


def test_document_builds_the_image_that_kubernetes_runs() -> None:
    (image,) = load(DEPLOY / "kubernetes" / "kustomization.yaml")["images"]
    built = f"docker build -t {image['newName']}:{image['newTag']} ."
    assert built in (ROOT / "docs" / "SCALE_OUT.md").read_text()
    jobs = [*_kubernetes("Deployment").values(), *_kubernetes("Job").values()]
    assert {job["spec"]["template"]["spec"]["containers"][0]["image"] for job in jobs} == {image["name"]}
