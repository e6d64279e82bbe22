"""The public CI runs what `.ci/run` runs, in jobs that have what the tests need, and on each pair that is supported."""

import re
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
ACTION = (ROOT / ".github" / "actions" / "machine" / "action.yml").read_text()
OWN_RUN = (ROOT / ".ci" / "run").read_text()
ON_THE_RUNNER = {
    "make",
    "gcc",
    "libc6-dev",
    "chromium",
    "chromium-driver",
    "postgresql",
    "default-jdk-headless",
    "maven",
    "nodejs",
    "npm",
}


def targets(words: str) -> set[str]:
    """The targets in the words of a call of make."""
    words = re.sub(r'"[^"]*"|\$\{\{[^}]*\}\}', "", words)
    return {word for word in words.split() if "=" not in word}


def in_the_workflow() -> set[str]:
    """Each target that a push or a pull request runs."""
    found: set[str] = set()
    for name, job in WORKFLOW["jobs"].items():
        if name != "nightly":
            calls = [
                step["run"].removeprefix("make ") for step in job["steps"] if step.get("run", "").startswith("make ")
            ]
            lines = job.get("strategy", {}).get("matrix", {}).get("make", [])
            found |= set().union(*map(targets, [*calls, *lines]))
    return found


def test_it_runs_what_we_run_ourselves() -> None:
    ours = {target for words in re.findall(r"^ *make ([^|\n]+)", OWN_RUN, re.MULTILINE) for target in targets(words)}
    assert {"check", "test", "chaos", "test-compose"} <= ours
    assert ours - in_the_workflow() == set()


def test_each_target_is_one_of_the_makefile() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert in_the_workflow() <= known


def test_its_machines_have_what_we_install_ourselves() -> None:
    installed = {word for words in re.findall(r"missing\+=\(([^)]+)\)", OWN_RUN) for word in words.split()}
    (line,) = re.findall(r"apt-get install .*--no-install-recommends (.+)", ACTION)
    assert installed - ON_THE_RUNNER == set(line.split())
    for job in WORKFLOW["jobs"].values():
        assert [step.get("uses") for step in job["steps"]][1] == "./.github/actions/machine"


def test_a_skipped_test_is_a_failure_there() -> None:
    assert WORKFLOW["env"]["CI"] == "true"


def test_every_pair_that_we_say_we_support_is_tested() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    pythons = {one.rpartition(" ")[2] for one in classifiers if re.search(r"Python :: 3\.\d+$", one)}
    djangos = {one.rpartition(" ")[2] for one in classifiers if re.search(r"Django :: \d", one)}
    matrix = WORKFLOW["jobs"]["versions"]["strategy"]["matrix"]
    assert (set(matrix["python"]), set(matrix["django"])) == (pythons, djangos)
    excluded = {(one["python"], one["django"]) for one in matrix["exclude"]}
    assert excluded == {("3.11", "6.0"), ("3.11", "6.1")}  # Django 6 begins with Python 3.12
    assert len(set(product(pythons, djangos)) - excluded) == 10
    # A line of `include` is a job of its own only where it changes a value that the matrix has.
    assert matrix["oldest"] == [""] and [one["oldest"] for one in matrix["include"]] == ["1"]
