"""System checks: each fault of the configuration by name, with its mend, and no secret in it."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

SECRET = "0123456789abcdef" * 2
CLEAN: dict[str, Any] = {"without_namespace": {"allow_subscribe_for_client": True}}


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.REALTIME, settings.RATE_LIMITS, settings.REALTIME_CONFIG = CLEAN, {}, None
    settings.REALTIME_API_KEYS, settings.REALTIME_ALLOWED_ORIGINS = None, None
    settings.REALTIME_TOKEN_SECRET = SECRET


def found() -> list[CheckMessage]:
    """What the registered checks say, as `manage.py check --tag realtime` would."""
    return run_checks(tags=["realtime"])


def ids() -> list[str]:
    messages = found()
    assert all(message.hint for message in messages), "a fault without its mend"
    return [str(message.id) for message in messages]


def test_a_sound_configuration_has_nothing_said_of_it() -> None:
    assert found() == []


def test_every_fault_is_an_error_of_its_own(settings: Any) -> None:
    settings.REALTIME = {"insecure": 1, "namespaces": {"chat": {"history_size": 5, "presense": True}}}
    assert ids() == ["realtime.E001"] * 3
    assert "namespaces.chat.presense: unknown key (in settings.REALTIME)." in [message.msg for message in found()]


@pytest.mark.parametrize("hook", ["no.such.hook", f"{__name__}.SECRET", f"{__name__}.missing"])
def test_a_hook_that_cannot_be_used_is_an_error(settings: Any, hook: str) -> None:
    settings.REALTIME = {"namespaces": {"chat": {"subscribe_permission": hook}}}
    assert ids() == ["realtime.E002"]
    assert f"namespaces.chat.subscribe_permission: the hook {hook}" in found()[0].msg


def test_a_hook_whose_module_breaks_is_an_error(settings: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "breaking_hooks.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    settings.REALTIME = {"namespaces": {"chat": {"publish_permission": "breaking_hooks.may"}}}
    assert ids() == ["realtime.E002"]
    assert "ZeroDivisionError" in found()[0].msg


def test_no_secret_is_a_warning(settings: Any) -> None:
    settings.REALTIME_TOKEN_SECRET = ""
    assert ids() == ["realtime.W001"]


@pytest.mark.parametrize(("secret", "expected"), [("x" * 31, ["realtime.W002"]), ("x" * 32, []), ("é" * 16, [])])
def test_a_short_secret_is_a_warning_counted_in_bytes(settings: Any, secret: str, expected: list[str]) -> None:
    settings.REALTIME_TOKEN_SECRET = secret
    assert ids() == expected


def test_no_message_repeats_a_secret(settings: Any) -> None:
    settings.REALTIME_TOKEN_SECRET = "hunter2"
    settings.REALTIME_API_KEYS = {"hunter2": "hunter2"}
    settings.REALTIME = {"insecure": True, "token_secret": ["hunter2"]}
    assert "hunter2" not in str(found())
    settings.REALTIME_API_KEYS = None
    assert "hunter2" not in str(found())


def test_a_door_left_open_is_a_warning(settings: Any) -> None:
    settings.REALTIME = {"insecure": True}
    settings.REALTIME_ALLOWED_ORIGINS = ["*"]
    assert ids() == ["realtime.W003", "realtime.W004"]


@pytest.mark.parametrize(
    "options",
    [
        {"force_push_join_leave": True},
        {"allow_recovery": True},
        {"allow_positioning": True},
        {"delta_publish": True},
        {"allowed_delta_types": ["fossil"]},
    ],
)
def test_an_option_without_effect_is_a_warning(settings: Any, options: dict[str, Any]) -> None:
    settings.REALTIME = {"without_namespace": options}
    assert ids() == ["realtime.W005"]
    assert next(iter(options)) in found()[0].msg
