"""Settings of webhooks: what is taken, and each fault by name, with its mend and without secrets."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from flotilla.realtime.conf import get_config

SECRET = "0123456789abcdef" * 2
GOOD = {"url": "https://crm.example/hook?a=b", "secret": SECRET}


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.REALTIME, settings.RATE_LIMITS, settings.REALTIME_CONFIG = {}, {}, None
    settings.REALTIME_API_KEYS, settings.REALTIME_ALLOWED_ORIGINS = None, None
    settings.REALTIME_TOKEN_SECRET = SECRET


def found() -> list[CheckMessage]:
    return run_checks(tags=["realtime"])


def said(**options: Any) -> list[str]:
    messages = [one for one in found() if "webhooks" in str(one.msg)]
    assert all(message.hint for message in messages), "a fault without its mend"
    assert SECRET not in "".join(f"{message.msg}{message.hint}" for message in messages)
    return [str(message.msg) for message in messages]


def test_without_webhooks_there_are_none() -> None:
    assert get_config.read().webhooks == {}


def test_what_is_written_is_read(settings: Any) -> None:
    settings.REALTIME = {
        "namespaces": {"chat": {}},
        "webhooks": {
            "crm": GOOD | {"events": ["occupied", "vacated"], "namespaces": ["chat", ""], "timeout": "2s", "keep": "1h"}
        },
    }
    webhook = get_config.read().webhooks["crm"]
    assert (webhook.url, webhook.secrets, webhook.events) == (GOOD["url"], (SECRET,), ("occupied", "vacated"))
    assert (webhook.namespaces, webhook.timeout, webhook.keep, webhook.allow_private) == (("chat", ""), 2, 3600, False)
    assert not said()


def test_a_file_says_them_too(settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"webhooks": {"crm": {"url": GOOD["url"]}}}))
    settings.REALTIME = {"webhooks": {"crm": {"secret": SECRET}}}
    settings.REALTIME_CONFIG = str(path)
    assert get_config.read().webhooks["crm"].secrets == (SECRET,)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9000/hook", "http://localhost/", "http://[::1]/", "http://crm.internal/", "https://10.0.0.7/"],
)
def test_private_addresses_are_taken_by_choice(settings: Any, url: str) -> None:
    settings.REALTIME = {"webhooks": {"crm": GOOD | {"url": url, "allow_private": True}}}
    assert not said()
    settings.REALTIME = {"webhooks": {"crm": GOOD | {"url": url}}}
    assert len(said()) == 1


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"url": ""}, "webhooks.crm.url: expected an https:// URL"),
    ({"url": "ftp://crm.example/"}, "webhooks.crm.url: expected an https:// URL"),
    ({"url": "http://crm.example/"}, "webhooks.crm.url: expected https"),
    ({"url": "http://93.184.215.14/", "allow_private": True}, "webhooks.crm.url: expected https"),
    ({"url": "https://u:p@crm.example/"}, "webhooks.crm.url: expected a URL without a user and password"),
    ({"url": "https://crm.example/ x"}, "webhooks.crm.url: expected a URL in ASCII"),
    ({"url": "https://crm.example:99999/"}, "webhooks.crm.url: expected a URL"),
    ({"url": "https://127.0.0.1/"}, "webhooks.crm.url: expected a public address"),
    ({"url": "https://169.254.169.254/latest"}, "webhooks.crm.url: expected a public address"),
    ({"url": "https://[::ffff:10.0.0.1]/"}, "webhooks.crm.url: expected a public address"),
    ({"url": "https://localhost./"}, "webhooks.crm.url: expected a public address"),
    ({"url": 7}, "webhooks.crm.url: expected"),
    ({"secret": ""}, "webhooks.crm.secret: expected a secret"),
    ({"secret": []}, "webhooks.crm.secret: expected a secret"),
    ({"secret": [SECRET, ""]}, "webhooks.crm.secret: expected a secret"),
    ({"events": ["connect"]}, "webhooks.crm.events[0]: "),
    ({"namespaces": ["nowhere"]}, "webhooks.crm.namespaces: expected a configured namespace, got 'nowhere'"),
    ({"timeout": 0}, "webhooks.crm.timeout: expected"),
    ({"max_batch": 0}, "webhooks.crm.max_batch: expected"),
    ({"max_waiting_bytes": 10}, "webhooks.crm.max_waiting_bytes: expected"),
    ({"retries": 3}, "webhooks.crm.retries: unknown key"),
]


@pytest.mark.parametrize(("options", "fault"), FAULTS)
def test_each_fault_is_named_with_its_mend(settings: Any, options: dict[str, Any], fault: str) -> None:
    settings.REALTIME = {"webhooks": {"crm": GOOD | options}}
    (message,) = said()
    assert message.startswith(fault), message


def test_names_and_number_are_bounded(settings: Any) -> None:
    settings.REALTIME = {"webhooks": {"a b": GOOD}}
    assert said()[0].startswith("webhooks.a b: expected a name")
    settings.REALTIME = {"webhooks": {f"w{number}": GOOD for number in range(17)}}
    assert said()[0].startswith("webhooks: expected at most 16")


def test_a_short_secret_is_warned_of(settings: Any) -> None:
    settings.REALTIME = {"webhooks": {"crm": GOOD | {"secret": [SECRET, "short"]}}}
    (message,) = [one for one in found() if one.id == "flotilla_realtime.W009"]
    assert "webhooks.crm.secret" in message.msg and "short" not in message.msg


@pytest.mark.parametrize("value", [True, False, "user"])
def test_joins_and_leaves_may_be_told_per_user(settings: Any, value: object) -> None:
    settings.REALTIME = {"namespaces": {"chat": {"join_leave": value}}}
    assert get_config.read().namespaces["chat"].join_leave == value


@pytest.mark.parametrize("value", ["users", 1, None, ""])
def test_nothing_else_is_a_way_to_tell_joins_and_leaves(settings: Any, value: object) -> None:
    settings.REALTIME = {"namespaces": {"chat": {"join_leave": value}}}
    (message,) = [str(one.msg) for one in found() if "join_leave" in str(one.msg)]
    assert message.startswith("namespaces.chat.join_leave: "), message
