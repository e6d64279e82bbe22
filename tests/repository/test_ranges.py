"""What the distribution says it runs with, what the service is pinned to, and what CI tries, are one story."""

import re
import tomllib
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
RANGES = [Requirement(one) for one in (*PROJECT["dependencies"], *chain.from_iterable(EXTRAS.values()))]
OF_DJANGO = {  # the Pythons that each Django supports, by its release notes
    "5.2": ("3.11", "3.12", "3.13", "3.14"),
    "6.0": ("3.12", "3.13", "3.14"),
    "6.1": ("3.12", "3.13", "3.14"),
}
# The service has no use for these; the projects of others do.
NOT_PINNED = {"psycopg"}
# The service's own, which the platform does not know.
SERVICE = {"autobahn", "dj-database-url", "hiredis", "whitenoise"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text().splitlines()
    found = (re.match(r"([\w.-]+)(?:\[[^]]*\])?==([^\s#]+)", line) for line in lines)
    return {canonical(one[1]): Version(one[2]) for one in found if one}


PINS = pins("requirements-dev.txt") | pins("requirements.txt")


def classified(what: str) -> list[str]:
    """The versions that the classifiers name."""
    found = (re.fullmatch(rf"{what} :: (\d+\.\d+)", one) for one in PROJECT["classifiers"])
    return [one[1] for one in found if one]


@pytest.mark.parametrize("one", RANGES, ids=str)
def test_the_pin_of_the_service_is_within_the_range(one: Requirement) -> None:
    name = canonical(one.name)
    if name == PROJECT["name"]:
        return  # the extra `all` names the others
    assert one.specifier, "a range has a lower bound"
    assert name in NOT_PINNED or one.specifier.contains(PINS[name]), f"{one} does not take {PINS.get(name)}"


def test_what_the_service_pins_is_asked_for_or_its_own() -> None:
    """So that nothing is pinned that the distribution forgot."""
    assert pins("requirements.txt").keys() - {canonical(one.name) for one in RANGES} == SERVICE


def test_only_what_we_read_the_inside_of_has_an_upper_bound() -> None:
    bounded = {canonical(one.name) for one in RANGES if any("<" in part.operator for part in one.specifier)}
    assert bounded == {"channels-redis", "daphne", "twisted"}


def test_ci_tries_each_python_with_each_django_that_supports_it() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    matrix = jobs["versions"]["strategy"]["matrix"]
    left_out = {(one["python"], one["django"]) for one in matrix["exclude"]}
    tried = set(product(matrix["python"], matrix["django"])) - left_out
    assert tried == {(python, django) for django, pythons in OF_DJANGO.items() for python in pythons}
    assert matrix["python"] == classified("Programming Language :: Python")
    assert matrix["django"] == classified("Framework :: Django")
    assert [one for one in matrix["include"] if one["oldest"]]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
