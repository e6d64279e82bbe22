"""`make test-deploy`: what the tools of those who use it say of deploy/kubernetes and of the workflows.

kustomize builds the manifests, kubeconform judges them by the schemas of several versions of Kubernetes, and actionlint
reads .github/workflows. All are on the PATH, built from their sources.
"""

import json
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = ("1.32", "1.35", "1.37")


def run(*words: str, given: str = "") -> str:
    done = subprocess.run(words, cwd=ROOT, input=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built() -> str:
    return run("kustomize", "build", str(MANIFESTS))


@pytest.fixture(scope="module", params=VERSIONS)
def schemas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where kubeconform finds the schemas of a version: those that we have call themselves pages of a web site."""
    folder = tmp_path_factory.mktemp(f"v{request.param}")
    for path in (SCHEMAS / f"v{request.param}.0-local-strict").glob("*.json"):
        schema = json.loads(path.read_text().replace("/api/_definitions.json#", "_definitions.json#"))
        schema.pop("$id", None)
        (folder / path.name).write_text(json.dumps(schema))
    return f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def test_what_is_built_follows_the_schemas(built: str, schemas: str) -> None:
    run("kubeconform", "-strict", "-schema-location", schemas, given=built)


def test_a_fault_would_be_seen(built: str, schemas: str) -> None:
    with pytest.raises(AssertionError, match="minReplicaz"):
        run("kubeconform", "-strict", "-schema-location", schemas, given=built.replace("minReplicas", "minReplicaz"))


def test_autoscaler_counts_connections_where_that_is_wanted(tmp_path: Path, schemas: str) -> None:
    """The component, in a copy of the manifests."""
    run("cp", "-r", str(MANIFESTS), str(tmp_path / "copy"))
    kustomization = tmp_path / "copy" / "kustomization.yaml"
    kustomization.write_text(f"{kustomization.read_text()}components: [by-connections]\n")
    built = run("kustomize", "build", str(tmp_path / "copy"))
    run("kubeconform", "-strict", "-schema-location", schemas, given=built)
    (autoscaler,) = (one for one in yaml.safe_load_all(built) if one["kind"] == "HorizontalPodAutoscaler")
    assert [metric["type"] for metric in autoscaler["spec"]["metrics"]] == ["Resource", "Pods"]
    assert autoscaler["spec"]["metrics"][1]["pods"]["metric"]["name"] == "flotilla_connections"


def test_a_changed_configuration_is_a_changed_deployment(built: str, tmp_path: Path) -> None:
    run("cp", "-r", str(MANIFESTS), str(tmp_path / "copy"))
    (tmp_path / "copy" / "realtime.toml").write_text("")
    other = run("kustomize", "build", str(tmp_path / "copy"))
    assert _mounted(built) != _mounted(other)


def _mounted(built: str) -> str:
    (deployment,) = (one for one in yaml.safe_load_all(built) if one["kind"] == "Deployment")
    (name,) = (
        one["configMap"]["name"] for one in deployment["spec"]["template"]["spec"]["volumes"] if "configMap" in one
    )
    return str(name)


def test_workflows_have_no_known_flaw() -> None:
    run("actionlint", *map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
