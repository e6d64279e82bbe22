"""System checks: each fault of the configuration by name, with its mend, and no secret in it."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from flotilla.realtime import checks

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


@pytest.mark.parametrize(
    ("runs", "wanted", "said"), [("native", "", []), ("python", "1", []), ("python", "", ["flotilla_realtime.I040"])]
)
def test_pure_python_that_nobody_asked_for_is_said_before_a_deployment(
    monkeypatch: pytest.MonkeyPatch, runs: str, wanted: str, said: list[str]
) -> None:
    monkeypatch.setattr(checks, "IMPLEMENTATION", runs)
    monkeypatch.setenv("FLOTILLA_PURE_PYTHON", wanted)
    assert found() == []
    assert [message.id for message in run_checks(tags=["realtime"], include_deployment_checks=True)] == said


def test_every_fault_is_an_error_of_its_own(settings: Any) -> None:
    settings.REALTIME = {"insecure": 1, "namespaces": {"chat": {"history_size": 5, "presense": True}}}
    assert ids() == ["flotilla_realtime.E001"] * 3
    assert "namespaces.chat.presense: unknown key (in settings.REALTIME)." in [message.msg for message in found()]


def test_what_is_durable_wants_a_history(settings: Any) -> None:
    settings.REALTIME = {"namespaces": {"orders": {"durable": True}}}
    assert ids() == ["flotilla_realtime.W010"]
    settings.REALTIME = {"namespaces": {"orders": {"durable": True, "history_size": 10, "history_ttl": 60}}}
    assert ids() == []


@pytest.mark.parametrize("hook", ["no.such.hook", f"{__name__}.SECRET", f"{__name__}.missing"])
def test_a_hook_that_cannot_be_used_is_an_error(settings: Any, hook: str) -> None:
    settings.REALTIME = {"namespaces": {"chat": {"subscribe_permission": hook}}}
    assert ids() == ["flotilla_realtime.E002"]
    assert f"namespaces.chat.subscribe_permission: the hook {hook}" in found()[0].msg


def test_a_hook_whose_module_breaks_is_an_error(settings: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "breaking_hooks.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    settings.REALTIME = {"namespaces": {"chat": {"publish_permission": "breaking_hooks.may"}}}
    assert ids() == ["flotilla_realtime.E002"]
    assert "ZeroDivisionError" in found()[0].msg


def test_no_secret_is_a_warning(settings: Any) -> None:
    settings.REALTIME_TOKEN_SECRET = ""
    assert ids() == ["flotilla_realtime.I001"]


@pytest.mark.parametrize(
    ("secret", "expected"), [("x" * 31, ["flotilla_realtime.W002"]), ("x" * 32, []), ("é" * 16, [])]
)
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
    assert ids() == ["flotilla_realtime.W003", "flotilla_realtime.W004"]


@pytest.mark.parametrize(
    "options",
    [
        {"force_push_join_leave": True},
        {"allow_recovery": True},
        {"allow_positioning": True},
        {"delta_publish": True},
    ],
)
def test_an_option_without_effect_is_a_warning(settings: Any, options: dict[str, Any]) -> None:
    settings.REALTIME = {"without_namespace": options}
    assert ids() == ["flotilla_realtime.W005"]
    assert next(iter(options)) in found()[0].msg


KEPT = {"history_size": 10, "history_ttl": "60s", "presence": True}
SUBSCRIBABLE = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}


@pytest.mark.parametrize("what", ["history", "presence"])
@pytest.mark.parametrize(
    ("guarded", "named"),
    [
        ({}, "not allow_subscribe_for_client"),
        ({"allow_subscribe_for_anonymous": True}, "not allow_subscribe_for_client"),
        ({"subscribe_permission": "operator.contains", **SUBSCRIBABLE}, "subscribe_permission"),
        ({"allow_user_limited_channels": True, **SUBSCRIBABLE}, "allow_user_limited_channels"),
    ],
)
def test_reading_that_is_open_where_subscribing_is_not_is_a_warning(
    settings: Any, what: str, guarded: dict[str, Any], named: str
) -> None:
    reads = {f"allow_{what}_for_client": True}
    settings.REALTIME = {"namespaces": {"chat": KEPT | guarded | reads, "other": KEPT | SUBSCRIBABLE}}
    (warning,) = found()
    assert warning.id == "flotilla_realtime.W007"
    assert warning.msg.startswith("namespaces.chat: ")
    assert named in warning.msg
    assert f"allow_{what}_for_client" in warning.msg
    assert f"allow_{what}_for_subscriber" in str(warning.hint)


def test_personal_channels_are_read_by_the_options_of_channels_without_namespace(settings: Any) -> None:
    open_ = KEPT | SUBSCRIBABLE | {"allow_history_for_client": True}
    settings.REALTIME = {"without_namespace": open_, "user_personal_channel": True, "namespaces": {"chat": open_}}
    (warning,) = found()
    assert warning.msg.startswith("without_namespace: ")
    assert "user_personal_channel" in warning.msg


def test_visitors_who_may_read_and_not_subscribe_are_a_warning(settings: Any) -> None:
    reads = {"allow_presence_for_client": True, "allow_presence_for_anonymous": True}
    settings.REALTIME = {"namespaces": {"chat": KEPT | reads | {"allow_subscribe_for_client": True}}}
    (warning,) = found()
    assert "to visitors" in warning.msg
    assert "allow_presence_for_anonymous" in str(warning.hint)


@pytest.mark.parametrize(
    "options",
    [
        KEPT | SUBSCRIBABLE | {"allow_history_for_client": True, "allow_history_for_anonymous": True},
        KEPT | {"allow_history_for_subscriber": True, "allow_presence_for_subscriber": True},
        {"allow_history_for_client": True, "allow_presence_for_client": True},  # nothing is kept
        KEPT | {"allow_history_for_anonymous": True},  # opens nothing by itself
        KEPT | {"allow_subscribe_for_client": True, "allow_history_for_client": True},
    ],
)
def test_reading_that_is_no_more_open_than_subscribing_is_none(settings: Any, options: dict[str, Any]) -> None:
    settings.REALTIME = {"namespaces": {"chat": options}}
    assert found() == []


def test_tracing_without_its_package_is_told_with_what_to_install(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REALTIME = CLEAN | {"tracing": True}
    assert found() == []
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert ids() == ["flotilla_realtime.W008"]
    assert 'pip install "django-flotilla[tracing]"' in found()[0].msg


def test_a_tracer_provider_is_found_and_used(settings: Any) -> None:
    settings.REALTIME = CLEAN | {"tracing_provider": "no.such.provider"}
    assert ids() == ["flotilla_realtime.E002", "flotilla_realtime.W005"]


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "all"])
def test_a_ratio_is_a_share(settings: Any, ratio: Any) -> None:
    settings.REALTIME = CLEAN | {"tracing_ratio": ratio}
    assert ids() == ["flotilla_realtime.E001"]
