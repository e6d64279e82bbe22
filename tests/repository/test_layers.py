"""The layers: each contract of pyproject.toml is one that a wrong import breaks, and the documents say the same."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {contract["id"]: contract for contract in LINTER["contracts"]}
PRODUCT = ("flotilla", "realtime", "presence", "ratelimit", "monitoring", "store", "ops", "project", "examples")
RUN = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def layers(contract: str) -> list[list[str]]:
    """The layers of a contract from the top; those that share a row may not import each other."""
    (prefix,) = CONTRACTS[contract].get("containers", [""])
    return [
        [f"{prefix}.{name.strip()}".lstrip(".") for name in layer.split("|")] for layer in CONTRACTS[contract]["layers"]
    ]


def wrong_imports(contract: str) -> list[tuple[str, str]]:
    """Imports that break a contract: into the layer above, within a row of layers, what is forbidden, in circles."""
    match CONTRACTS[contract]:
        case {"type": "layers"}:
            rows = layers(contract)
            upwards = [(lower, above[0]) for above, row in pairwise(rows) for lower in row]
            return [*upwards, *((row[0], neighbour) for row in rows for neighbour in row[1:])]
        case {"type": "forbidden", "source_modules": importers, "forbidden_modules": imported}:
            return list(product(importers, imported))
        case {"type": "acyclic_siblings", "ancestors": ancestors}:
            new = [(f"{ancestor}.new_left", f"{ancestor}.new_right") for ancestor in ancestors]
            return [pair for left, right in new for pair in ((left, right), (right, left))]
    raise AssertionError(f"nobody knows how to break {contract}")


WRONG = {contract: wrong_imports(contract) for contract in CONTRACTS}
NAMED = [
    pair for contract, pairs in WRONG.items() if CONTRACTS[contract]["type"] != "acyclic_siblings" for pair in pairs
]


def import_wrongly(root: Path, importer: str, imported: str) -> None:
    """Let a package have one more module, or a module one more line, that imports what it may not; a module that is not
    there is made."""
    place = root / importer.replace(".", "/")
    target = place / "wrong.py" if place.is_dir() else place.with_suffix(".py")
    with target.open("a") as file:
        file.write(f"\nimport {imported}\n")


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy in which everything is imported that may not be."""
    copy = tmp_path_factory.mktemp("copy")
    for name in PRODUCT:
        shutil.copytree(
            ROOT / name,
            copy / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("node_modules", "__pycache__", "static"),
        )
    (copy / "tests").mkdir()
    (copy / "tests" / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", copy)
    for pairs in WRONG.values():
        for importer, imported in pairs:
            import_wrongly(copy, importer, imported)
    command = [sys.executable, "-c", RUN, "--no-cache"]
    wide = os.environ | {"COLUMNS": "500"}  # or it breaks lines between names
    done = subprocess.run(command, cwd=copy, env=wide, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_fails_when_it_is_broken(complaints: str, contract: str) -> None:
    assert re.search(rf"^{re.escape(CONTRACTS[contract]['name'])}\s+BROKEN", complaints, re.MULTILINE)


@pytest.mark.parametrize(("importer", "imported"), NAMED)
def test_each_wrong_import_is_named(complaints: str, importer: str, imported: str) -> None:
    assert f"{importer} is not allowed to import {imported}" in complaints


def rows_of_table(title: str) -> list[list[str]]:
    """The names in backticks in the first column of a table of docs/ARCHITECTURE.md, a list for each row."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    (rows,) = re.findall(rf"^\| {title} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in rows.splitlines()]


def test_the_documents_have_the_layers_of_the_contracts() -> None:
    assert rows_of_table("package") == layers("parts")
    assert [[f"flotilla.realtime.{name}" for name in row] for row in rows_of_table("room")] == layers("rooms")
