"""Two revisions: what is noise, what is worse, and which revision is meant."""

import subprocess
from pathlib import Path

import pytest

from tests.bench import revision
from tests.bench.comparison import LEAST_PAIRS, Comparison

NOISE = (0.93, 1.04, 0.99, 1.08, 0.97, 1.01, 0.95, 1.06, 1.0, 1.03)


def ratios(*values: float) -> Comparison:
    return Comparison([50.0] * len(values), [50.0 * value for value in values])


def test_noise_is_not_worse() -> None:
    assert ratios(*NOISE).verdict(0.0) == "as before"


def test_what_costs_more_in_nearly_every_pair_is_worse() -> None:
    assert ratios(*(1.2 * value for value in NOISE)).verdict(0.05) == "WORSE"


def test_what_costs_more_within_the_tolerance_is_let_pass() -> None:
    assert ratios(*(1.2 * value for value in NOISE)).verdict(0.25) == "as before"


def test_what_costs_less_is_better() -> None:
    assert ratios(*(0.8 * value for value in NOISE)).verdict(0.05) == "better"


def test_one_pair_that_the_machine_disturbed_changes_nothing() -> None:
    assert ratios(*(1.2 * value for value in NOISE[:-1]), 0.2).worse(0.05)
    assert not ratios(*NOISE[:-1], 9.0).worse(0.0)


def test_few_pairs_say_nothing() -> None:
    assert not ratios(*[2.0] * (LEAST_PAIRS - 1)).worse(0.0)
    assert ratios(*[2.0] * LEAST_PAIRS).worse(0.0)


@pytest.mark.parametrize(("pairs", "left_out"), [(6, 0), (8, 0), (9, 1), (10, 1), (12, 2), (30, 9)])
def test_the_interval_is_that_of_the_sign_test(pairs: int, left_out: int) -> None:
    """The numbers are those of the tables for 95 %."""
    assert ratios(*range(1, pairs + 1)).interval == (1 + left_out, pairs - left_out)


def test_what_cannot_be_measured_has_no_ratio() -> None:
    assert Comparison([0.0] * 8, [1.0] * 8).verdict(0.0) == "as before"


def test_a_revision_that_is_not_here_is_an_error() -> None:
    with pytest.raises(revision.RevisionError, match="no revision not-a-branch"):
        revision.find("not-a-branch")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_base_is_the_last_tag_or_else_the_commit_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "ROOT", tmp_path)
    git(tmp_path, "init", "--quiet")
    commits = []
    for number in range(3):
        git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", str(number))
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    assert revision.find(revision.AUTO) == commits[1]
    git(tmp_path, "tag", "1.0", commits[0])
    git(tmp_path, "tag", "1.1", commits[2])  # that is this commit
    assert revision.find(revision.AUTO) == commits[0]


def test_a_shallow_checkout_has_no_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin, shallow = tmp_path / "origin", tmp_path / "shallow"
    origin.mkdir()
    git(origin, "init", "--quiet")
    for number in range(2):
        git(origin, "commit", "--quiet", "--allow-empty", "-m", str(number))
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{origin}", str(shallow))
    monkeypatch.setattr(revision, "ROOT", shallow)
    with pytest.raises(revision.RevisionError, match="no revision HEAD"):
        revision.find(revision.AUTO)


def test_a_revision_is_checked_out_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet")
    for text in ("old", "new"):
        (origin / "file").write_text(text)
        git(origin, "add", "file")
        git(origin, "commit", "--quiet", "-m", text)
    monkeypatch.setattr(revision, "ROOT", origin)
    monkeypatch.setattr(revision, "WHERE", tmp_path / "revisions")
    with revision.checked_out(revision.find("HEAD^")) as folder:
        assert (folder / "file").read_text() == "old"
    assert not folder.exists()
    assert git(origin, "worktree", "list").count("\n") == 0
