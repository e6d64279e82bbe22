"""`manage.py plan`: what it prints, and how it ends."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError

from flotilla.command_line import OurCommand, Status
from flotilla.ops.plan.costs import OWN

SMALL = ["--users", "1000", "--rooms", "100", "--rate", "20"]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    call_command("plan", *words, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_it_says_everything_that_people_want_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("plan", *SMALL)
    text = capsys.readouterr().out
    for what in (
        "instances ",
        "Redis ",
        "commands/s",
        "full first",
        "one dies",
        "a Redis",
        "cores would grow",
        "costs ",
    ):
        assert what in text
    assert "How it is computed" not in text


def test_the_formulae_and_every_part_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("plan", *SMALL, "--explain")
    text = capsys.readouterr().out
    assert "How it is computed" in text
    assert "publications heard" in text


def test_machines_are_told_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    command = load_command_class("flotilla.ops", "plan")
    assert isinstance(command, OurCommand)
    found = told(capsys, *SMALL)
    assert set(found) == set(command.shape)
    assert found["fits"] is True
    assert set(found["resources"][0]) == set(command.shape["resources"])
    assert found["instances"]["cores"] == pytest.approx(sum(found["instances"]["cpu"].values()))


@pytest.mark.parametrize("name", ["flotilla.ops"])
def test_its_examples_run(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = load_command_class(name, "plan")
    assert isinstance(command, OurCommand)
    mine = tmp_path / "mine.json"
    mine.write_bytes(OWN.read_bytes())
    for words, _ in command.examples:
        call_command("plan", *shlex.split(words.replace("mine.json", str(mine))))
        assert capsys.readouterr().out


def test_what_does_not_fit_ends_with_a_status_and_says_what(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="core of a Redis") as ended:
        call_command("plan", "--users", "1000000", "--rooms", "100000", "--rate", "60000", "--redis", "1")
    assert ended.value.returncode == Status.NOT_DONE
    assert "DOES NOT FIT" in capsys.readouterr().out


def test_where_more_redises_do_not_help_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="core of a Redis"):
        call_command("plan", *SMALL, "--instances", "5000")
    assert "fewer, fuller instances" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--users", "10", "--rooms", "1"], "--room-rate"),
        ([*SMALL, "--presence", "off", "--join-leave"], "needs presence"),
        ([*SMALL, "--history-ttl", "soon"], "--history-ttl"),
        ([*SMALL, "--check-every", "-1"], "--check-every"),
        ([*SMALL, "--headroom", "2"], "--headroom"),
    ],
)
def test_a_line_without_sense_is_refused(words: list[str], what: str) -> None:
    with pytest.raises(CommandError, match=what) as ended:
        call_command("plan", *words)
    assert ended.value.returncode == Status.USAGE


@pytest.mark.parametrize("text", ["", "{}", '{"instance": 3}', "\xff", OWN.read_text().replace('"wake_us"', '"woke"')])
def test_a_file_that_has_no_costs_is_refused_with_the_mend(text: str, tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CommandError, match="make measure-costs"):
        call_command("plan", *SMALL, "--costs", str(path))
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("plan", *SMALL, "--costs", str(tmp_path / "none.json"))
