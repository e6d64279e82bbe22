"""The scripts of deploy/procedures as they are written; what they do is in test_procedures.py."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "deploy" / "procedures").glob("*.sh"))
SHARED = "where"  # read by the others


def test_the_scripts_have_no_known_flaw() -> None:
    shellcheck = str(Path(sys.executable).with_name("shellcheck"))
    words = [shellcheck, "--external-sources", "--source-path=SCRIPTDIR", *map(str, SCRIPTS)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_each_script_can_be_run_and_ends_at_the_first_fault() -> None:
    assert {script.stem for script in SCRIPTS if not script.stat().st_mode & 0o111} == {SHARED}
    assert "\nset -euo pipefail\n" in (ROOT / "deploy" / "procedures" / f"{SHARED}.sh").read_text()
    for script in SCRIPTS:
        assert script.stem == SHARED or f'source "$(dirname "$0")/{SHARED}.sh"' in script.read_text()


def test_operations_names_each_procedure() -> None:
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    for script in SCRIPTS:
        assert script.stem == SHARED or f"deploy/procedures/{script.name}" in text, script.name


def test_no_document_says_again_what_a_script_does() -> None:
    """The lines that a script has are its own."""
    lines = {line.strip() for script in SCRIPTS for line in script.read_text().splitlines() if "docker compose" in line}
    for document in (ROOT / "docs").glob("*.md"):
        assert lines.isdisjoint(line.strip() for line in document.read_text().splitlines()), document.name
