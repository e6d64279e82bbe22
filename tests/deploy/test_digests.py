"""What is fetched to run or to test Flotilla is fetched by digest: images, GitHub actions, and Python's packages."""

import json
import re
from pathlib import Path

import pytest

from deploy import digests, locks
from flotilla.realtime.server import redis_binary
from tests.compose import engine
from tests.deploy.test_files import COMPOSE, ROOT, load

DIGEST, OTHER = (f"sha256:{digit * 64}" for digit in "ab")
COMMIT, LATER = (digit * 40 for digit in "cd")
WRITTEN = f"""
    image: prom/prometheus:v2.55.1${{IMAGE_DIGEST-@{DIGEST}}}
    image: redis:7.4-alpine@{DIGEST}
    image: haproxy:3.0
ARG PYTHON_IMAGE=python:3.13@{DIGEST}
FROM ${{PYTHON_IMAGE}} AS packages
FROM debian:13 AS other
      - uses: actions/checkout@{COMMIT} # v6.0.3
      - uses: actions/cache@v5
"""


def fetched() -> list[digests.Reference]:
    return [one for path in digests.files() for one in digests.references(path.read_text())]


# Images and actions


def test_every_image_and_action_is_fetched_by_digest() -> None:
    assert [str(one) for one in fetched() if not one.pin] == []


def test_nothing_that_is_fetched_escapes_the_search() -> None:
    images = [str(one) for one in fetched() if one.kind == "image"]
    services = load(ROOT / COMPOSE[0])["services"].values()
    for image in (service["image"] for service in services if "build" not in service):
        assert image.startswith("flotilla:") or image.partition("$")[0] in images
    for path in (ROOT / ".github").rglob("*.yml"):
        assert path in digests.files()
        text = path.read_text()
        assert text.count("uses:") - text.count("uses: ./") == sum(
            one.kind == "action" for one in digests.references(text)
        )
    assert re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2


def test_no_tag_moves_of_itself_or_has_two_digests() -> None:
    found = set(fetched())
    assert len(found) == len({one.name for one in found})
    for one in found:
        assert re.match(r"v?\d+\.\d+", one.tag), one


def test_grafana_is_the_version_whose_schema_checks_the_dashboards() -> None:
    schema = json.loads((ROOT / "tests" / "grafana" / "package.json").read_text())["dependencies"]["@grafana/schema"]
    assert {one.tag for one in fetched() if one.name == "grafana/grafana"} == {schema}


def test_references_are_read_in_each_way_they_are_written() -> None:
    assert [(str(one), one.pin) for one in digests.references(WRITTEN)] == [
        ("prom/prometheus:v2.55.1", DIGEST),
        ("redis:7.4-alpine", DIGEST),
        ("haproxy:3.0", ""),
        ("python:3.13", DIGEST),
        ("debian:13", ""),
        ("actions/checkout@v6.0.3", COMMIT),
        ("actions/cache@v5", ""),
    ]


def test_digests_are_rewritten_where_they_stand_and_written_where_they_are_missing() -> None:
    new = digests.rewritten(WRITTEN, lambda one: OTHER if one.kind == "image" else LATER)
    expected = WRITTEN.replace(DIGEST, OTHER).replace(COMMIT, LATER)
    expected = expected.replace("haproxy:3.0", f"haproxy:3.0@{OTHER}").replace("debian:13", f"debian:13@{OTHER}")
    assert new == expected.replace("actions/cache@v5", f"actions/cache@{LATER} # v5")


# Packages


@pytest.mark.parametrize("lock", locks.LOCKS, ids=lambda lock: lock.name)
def test_lock_file_is_current(lock: locks.Lock) -> None:
    assert locks.problems(lock) == []


@pytest.fixture
def written(tmp_path: Path) -> locks.Lock:
    """A lock that is current, in a folder of its own."""
    lock = locks.Lock("requirements.lock", "requirements.txt")
    (tmp_path / lock.source).write_text("Django==5.2.19  # the framework\nchannels_redis==4.3.0\n")
    packages = f"django==5.2.19 \\\n    --hash={DIGEST}\nchannels-redis==4.3.0 \\\n    --hash={DIGEST}\n"
    (tmp_path / lock.name).write_text(locks.header(lock, tmp_path) + packages)
    assert locks.problems(lock, tmp_path) == []
    return lock


@pytest.mark.parametrize(
    ("file", "before", "after", "problem"),
    [
        ("requirements.txt", "5.2.19", "5.2.20", "made from another requirements.txt"),
        ("requirements.txt", "Django", "attrs==26.1.0\nDjango", "made from another requirements.txt"),
        ("requirements.lock", "django==5.2.19", "django==5.2.18", "lacks django==5.2.19"),
        ("requirements.lock", f"4.3.0 \\\n    --hash={DIGEST}", "4.3.0", "no hash for channels-redis==4.3.0"),
        ("requirements.lock", "django==", "--index-url https://example.com\ndjango==", "says where packages come from"),
    ],
)
def test_lock_that_does_not_fit_is_named(
    tmp_path: Path, written: locks.Lock, file: str, before: str, after: str, problem: str
) -> None:
    text = (tmp_path / file).read_text()
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after))
    assert problem in "; ".join(locks.problems(written, tmp_path))


def test_reason_beside_a_requirement_may_change(tmp_path: Path, written: locks.Lock) -> None:
    (tmp_path / written.source).write_text("# What runs.\nchannels_redis==4.3.0\nDjango==5.2.19  # another reason\n")
    assert locks.problems(written, tmp_path) == []


def test_missing_lock_is_named(tmp_path: Path, written: locks.Lock) -> None:
    (tmp_path / written.name).unlink()
    assert locks.problems(written, tmp_path) == ["requirements.lock is missing"]


def test_whatever_installs_packages_asks_for_hashes() -> None:
    for name in ("Makefile", "Dockerfile", ".ci/run"):
        for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
            if re.search(r"pip\S* .*\binstall\b", line):
                assert "--require-hashes" in line, f"{name}: {line}"
    assert redis_binary.HASH.startswith("sha256:")


# Where no registry answers

DOCKER = """#!/bin/sh
case "$*" in
    "compose config"*) cat "$HERE/config.json" ;;
    "image ls --quiet $PRESENT") echo 0123456789ab ;;
    "image ls"*) ;;
    *) echo "no registry here" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker that can fetch nothing, and a compose file of two images by digest, one of them that of a build."""
    services = {"redis": {"image": f"redis:7.4@{DIGEST}"}}
    built = {"image": "flotilla:local", "build": {"args": {"PYTHON_IMAGE": f"redis:7.4@{DIGEST}"}}}
    (tmp_path / "config.json").write_text(json.dumps({"services": services | {"setup": built}}))
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HERE", str(tmp_path))


@pytest.mark.usefixtures("no_registry")
def test_local_images_of_the_same_tags_will_do_for_the_tests_of_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENT", "redis:7.4")
    assert engine.get_images() == ["redis:7.4"]


@pytest.mark.usefixtures("no_registry")
def test_image_that_is_not_to_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENT", "redis:6")
    with pytest.raises(engine.NoEngine, match=f"redis:7.4@{DIGEST} is neither here nor to be had"):
        engine.get_images()
