"""Another secret in the place of one: in order, and both are in the files at every moment in between."""

import stat
from pathlib import Path

import pytest

from project import secret_rotation
from project.secret_rotation import CannotRotate, Rotation


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As `manage.py prepare` leaves it."""
    names = ("REALTIME_TOKEN_SECRET", "REALTIME_TOKEN_SECRET_FALLBACKS", "REALTIME_API_KEYS")
    files = {f"{name}_FILE": tmp_path / name for name in names}
    files["REALTIME_TOKEN_SECRET_FILE"].write_text("old")
    files["REALTIME_TOKEN_SECRET_FALLBACKS_FILE"].touch()
    files["REALTIME_API_KEYS_FILE"].write_text("old")
    return {name: str(path) for name, path in files.items()}


@pytest.mark.parametrize("name", ["token_secret", "api_keys"])
def test_the_new_one_is_accepted_then_used_then_alone(name: str, environment: dict[str, str]) -> None:
    rotation = Rotation.of(name, environment)
    rotation.do("add")
    old, new = rotation.read()
    assert old == "old" and len(new) >= 32
    rotation.do("switch")
    assert rotation.read() == [new, "old"]
    rotation.do("drop")
    assert rotation.read() == [new]
    for path in Path(environment["REALTIME_API_KEYS_FILE"]).parent.iterdir():
        assert path.name in {Path(one).name for one in environment.values()}
    assert stat.S_IMODE(rotation.used.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["token_secret", "api_keys"])
def test_both_are_there_whenever_an_instance_reads(
    name: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between two files: whoever starts just then must refuse neither."""
    rotation = Rotation.of(name, environment)
    rotation.do("add")
    both, seen, write = set(rotation.read()), [], secret_rotation._replace

    def look(path: Path, items: list[str]) -> None:
        write(path, items)
        seen.append(set(rotation.read()))

    monkeypatch.setattr(secret_rotation, "_replace", look)
    rotation.do("switch")
    assert seen and all(one == both for one in seen)


def test_a_step_that_is_not_due_changes_nothing(environment: dict[str, str]) -> None:
    rotation = Rotation.of("token_secret", environment)
    with pytest.raises(CannotRotate, match="begin with `add`"):
        rotation.do("switch")
    rotation.do("add")
    before = rotation.read()
    with pytest.raises(CannotRotate, match="`switch` comes first"):
        rotation.do("drop")
    assert rotation.read() == before
    rotation.do("switch")
    with pytest.raises(CannotRotate, match="begin with `add`"):
        rotation.do("switch")
    with pytest.raises(CannotRotate, match="a rotation is under way"):
        rotation.do("add")
    assert rotation.read() == before[::-1]


@pytest.mark.parametrize("name", ["token_secret", "api_keys"])
def test_what_was_interrupted_is_begun_again(name: str, environment: dict[str, str]) -> None:
    """The instances had not all been started again: the same new one is what they are to accept."""
    rotation = Rotation.of(name, environment)
    rotation.do("add")
    before = rotation.read()
    rotation.do("add")
    assert rotation.read() == before
    rotation.do("switch")
    assert rotation.read() == before[::-1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"REALTIME_TOKEN_SECRET": "itself"}, "itself is set"),
        ({"REALTIME_TOKEN_SECRET_FALLBACKS_FILE": ""}, "FALLBACKS_FILE is not set"),
    ],
)
def test_what_no_command_can_change_is_said(environment: dict[str, str], change: dict[str, str], says: str) -> None:
    with pytest.raises(CannotRotate, match=says):
        Rotation.of("token_secret", environment | change)


@pytest.mark.parametrize(("content", "says"), [("", "holds no secret"), ("one, two", "has a comma in it")])
def test_a_secret_that_cannot_be_in_a_list_is_left_alone(environment: dict[str, str], content: str, says: str) -> None:
    path = Path(environment["REALTIME_TOKEN_SECRET_FILE"])
    path.write_text(content)
    with pytest.raises(CannotRotate, match=says):
        Rotation.of("token_secret", environment).do("add")
    assert path.read_text() == content
