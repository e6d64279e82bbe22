"""The native part is compiled by what a machine has, without a warning; where that fails, it is said in a sentence."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from flotilla.speedups import build

needs_compiler = pytest.mark.skipif(
    shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is None, reason="there is no C compiler"
)


@needs_compiler
def test_it_compiles_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-Werror -Wshadow -Wstrict-prototypes")
    assert build.main([str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [build.FILE]


@needs_compiler
def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first.so", tmp_path / "second.so"
    for target in (first, second):
        build.compile_into(target)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("compiler", ["false", "sh -c 'echo sorry >&2; exit 1'"])
def test_a_compiler_that_fails_is_told_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], compiler: str
) -> None:
    (tmp_path / build.FILE).write_text("the former one")
    monkeypatch.setenv("CC", compiler)
    assert build.main([str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("flotilla._speedups is not compiled, Python does its work: ")
    assert ("sorry" in told) is ("sorry" in compiler)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the former one"]


def test_no_compiler_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.NotCompiled, match="there is no C compiler"):
        build.compile_into(tmp_path / build.FILE)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(build.NotCompiled):
        build.compile_into(tmp_path / "not there" / build.FILE)
