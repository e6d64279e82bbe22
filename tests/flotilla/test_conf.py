"""The one dictionary of settings: what wins, what is refused and how it is said."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from flotilla import apps
from flotilla.conf import _of_this_process as of_this_process
from flotilla.conf import problems, set_for_this_process
from flotilla.conf import reset as reset_settings
from flotilla.config_reader import ConfigProblems
from flotilla.ratelimit.conf import get_limits_config, limits_apart, limits_redis_url
from flotilla.realtime.conf import get_config
from flotilla.realtime.server.conf import get_server_config
from flotilla.store import get_store, in_process
from flotilla.store.conf import get_store_config, require_shared_store
from flotilla.store.shards import reset_store

FORMER = ("REDIS_URLS", "REALTIME_PREFIX", "INSTANCE_ID", "METRICS_PORT", "HTTP_MAX_BODY", "RATE_LIMIT_REDIS_URL")


@pytest.fixture
def foreign(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings that know nothing of the platform."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    for name in FORMER:
        delattr(settings, name)
    settings.REALTIME, settings.RATE_LIMITS = {}, {}
    reset_settings()
    reset_store()
    yield settings
    reset_store()
    reset_settings()


def test_nothing_is_needed(foreign: Any) -> None:
    assert get_store_config().redis_urls == ()
    assert get_store_config().prefix == "flotilla"
    assert get_store_config().instance_id
    assert get_server_config().http_max_body == 10_000_000
    assert get_limits_config().trusted_proxies == ()


def test_the_dictionary_wins_over_the_former_settings(settings: Any) -> None:
    settings.METRICS_PORT, settings.REALTIME_PREFIX = 9500, "former"
    settings.REALTIME = {"anonymous": False, "max_channels": 5}
    settings.FLOTILLA = {"metrics_port": 9600, "prefix": "mine", "anonymous": True, "redis_url": "redis://there:1/2"}
    assert (get_server_config().metrics_port, get_store_config().prefix) == (9600, "mine")
    assert (get_config().anonymous, get_config().max_channels) == (True, 5)
    assert get_store_config().redis_urls == ("redis://there:1/2",)
    assert limits_redis_url() == settings.RATE_LIMIT_REDIS_URL


def test_settings_that_projects_have_for_themselves_mean_nothing_here(foreign: Any) -> None:
    for name, value in {"HOST": "a.example", "PORT": "5432", "ROOT_PATH": "/home/ann", "INSTANCES": 9}.items():
        setattr(foreign, name, value)
    foreign.HTTP_TIMEOUT, foreign.FLOTILLA = 5, {}
    config = get_server_config()
    assert (config.host, config.port, config.root_path, config.http_timeout) == ("127.0.0.1", 8000, "", 60)
    assert config.instances == get_limits_config().instances == 2


@pytest.mark.parametrize("nothing", [None, "", [], ()])
def test_no_address_is_as_if_none_was_written(foreign: Any, monkeypatch: pytest.MonkeyPatch, nothing: Any) -> None:
    """As in `os.environ.get("REDIS_URL")`."""
    foreign.FLOTILLA = {"redis_url": nothing}
    monkeypatch.setenv("REDIS_URL", "redis://a:1/0")
    assert get_store_config().redis_urls == ("redis://a:1/0",)


def test_a_change_of_the_dictionary_is_seen(settings: Any) -> None:
    settings.FLOTILLA = {"metrics_port": 9600}
    assert get_server_config().metrics_port == 9600
    settings.FLOTILLA = {}
    assert get_server_config().metrics_port == settings.METRICS_PORT


@pytest.mark.parametrize("name", ["REDIS_URL", "environment"])
def test_redis_is_found_where_projects_have_it(foreign: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name == "environment":
        monkeypatch.setenv("REDIS_URL", "redis://a:1/0, redis://b:2/0")
        assert get_store_config().redis_urls == ("redis://a:1/0", "redis://b:2/0")
    else:
        foreign.REDIS_URL = "redis://a:1/0"
        assert get_store_config().redis_urls == ("redis://a:1/0",)
    assert limits_redis_url() == "redis://a:1/0"


def test_several_redises(foreign: Any) -> None:
    foreign.FLOTILLA = {"redis_url": ["redis://a:1/0", "redis://b:2/0"]}
    assert get_store_config().redis_urls == ("redis://a:1/0", "redis://b:2/0")


def test_a_cluster(foreign: Any) -> None:
    foreign.FLOTILLA = {"redis_url": "redis+cluster://a:1,b:2?shards=7"}
    assert get_store_config().redis_urls == ("redis+cluster://a:1,b:2?shards=7",)
    assert get_store_config().virtual_shards == 7 == len(get_store().urls)
    assert limits_redis_url() == "redis+cluster://a:1,b:2?shards=7&slot=785"


@pytest.mark.parametrize(
    ("store", "limits", "apart"),
    [
        ("redis://a", "", False),
        ("redis://a,redis://b", "redis://b", False),
        ("redis://a", "redis://:secret@a:6379/0", False),
        ("redis://a", "redis://a/1", True),
        ("redis+cluster://a,b", "redis+cluster://b,a?shards=3", False),
        ("redis+cluster://a,b", "redis://c", True),
    ],
)
def test_limits_are_apart_where_a_redis_counts_that_is_none_of_the_stores(
    foreign: Any, store: str, limits: str, apart: bool
) -> None:
    foreign.FLOTILLA = {"redis_url": store, "rate_limit_redis_url": limits}
    assert limits_apart() is apart


def test_this_process_may_be_called_otherwise(settings: Any) -> None:
    settings.FLOTILLA = {"instance_id": "all"}
    try:
        set_for_this_process(instance_id="one", metrics_port=9999)
        assert (get_store_config().instance_id, get_server_config().metrics_port) == ("one", 9999)
    finally:
        of_this_process.clear()
        set_for_this_process()
    assert get_store_config().instance_id == "all"


@pytest.mark.parametrize(
    ("given", "fault", "hint"),
    [
        ({"redis_ulr": "redis://a"}, "redis_ulr: unknown key", "Did you mean 'redis_url'?"),
        ({"metrics_port": "9400"}, "metrics_port: expected `int`, got `str`", "Correct the value"),
        ({"metrics_port": 99999}, "metrics_port: expected `int` <= 65535", "Correct the value"),
        ({"redis_url": "redis//a"}, "redis_url:", "Write redis://"),
        ({"redis_url": ["redis://a:1/0", "redis://a:1/0"]}, "redis_url:", "Write redis://"),
        ({"redis_url": ["redis://a", "redis+cluster://b"]}, "a cluster is the whole store", "redis+cluster://host"),
        ({"prefix": "a{b}"}, "prefix:", "Write it with letters"),
        ({"namespaces": {"chat": {"history": 5}}}, "namespaces.chat.history: unknown key", "history"),
        ({"http_timeout": -1}, "http_timeout: expected `float` >= 0", "duration"),
        (["redis_url"], "FLOTILLA: expected a dictionary, got list", "Write FLOTILLA = {"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(foreign: Any, given: Any, fault: str, hint: str) -> None:
    foreign.FLOTILLA = given
    found = [item for item in problems() if fault in item.fault]
    assert found, list(problems())
    assert hint in found[0].hint
    assert any(fault in message.msg for message in run_checks(tags=["realtime"]))


@pytest.mark.parametrize(
    "given",
    [
        {"trusted_proxies": "10.0.0.0/8"},
        {"instances": "2"},
        {"rate_limit_redis_url": None},
        {"host": 5},
        {"abuse": range(3)},
    ],
)
def test_no_check_fails_for_a_fault_that_another_names(foreign: Any, given: dict[str, Any]) -> None:
    foreign.FLOTILLA = {"redis_url": "redis://a:1/0"} | given
    (name,) = given
    assert any(name in message.msg for message in run_checks())


def test_a_part_with_a_fault_is_refused_as_a_whole(settings: Any) -> None:
    settings.FLOTILLA = {"metrics_port": "x"}
    with pytest.raises(ConfigProblems, match="metrics_port"):
        get_server_config()
    assert get_store_config().redis_urls, "the other parts are not concerned"


def test_no_fault_shows_a_password(foreign: Any) -> None:
    foreign.FLOTILLA = {"redis_url": "redis://:s3cret/word@host"}
    assert "s3cret" not in " ".join(map(str, problems()))
    assert list(problems())


def test_no_redis_is_said_by_the_checks_and_at_the_first_use(foreign: Any) -> None:
    assert [message.id for message in run_checks(tags=["realtime"]) if "Redis" in message.msg] == [
        "flotilla_realtime.E003"
    ]
    with pytest.raises(ImproperlyConfigured, match="redis_url"):
        get_store()


def test_without_a_redis_debug_has_an_engine_in_the_process(foreign: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign.DEBUG = True
    get_store_config.reset()
    assert get_store_config().redis_urls == ("memory://",) and get_store_config().in_process
    assert "flotilla_realtime.E003" not in [message.id for message in run_checks(tags=["realtime"])]
    with pytest.raises(ImproperlyConfigured, match=r"Other processes cannot be reached.*redis_url"):
        require_shared_store()
    for command, told in (("runserver", ["flotilla_realtime.I030"]), ("migrate", [])):
        monkeypatch.setattr("sys.argv", ["manage.py", command])
        assert [message.id for message in run_checks(tags=["realtime"]) if "engine" in message.msg] == told
    monkeypatch.setattr("sys.argv", ["manage.py", "serve"])
    get_store_config.reset()
    assert get_store_config().redis_urls == (), "its processes share a Redis"
    monkeypatch.setattr("sys.argv", ["manage.py", "runserver"])
    foreign.FLOTILLA = {"redis_url": "redis://there"}
    assert get_store_config().redis_urls == ("redis://there",)


def test_the_engine_in_the_process_is_chosen_by_its_address(foreign: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign.FLOTILLA = {"redis_url": "memory://"}
    (warning,) = [message for message in run_checks(tags=["realtime"]) if "engine" in message.msg]
    assert warning.id == "flotilla_realtime.W030" and "redis://" in str(warning.hint)
    monkeypatch.setattr("sys.argv", ["manage.py", "flotilla", "serve"])
    (error,) = [message for message in run_checks(tags=["realtime"]) if "serve" in message.msg]
    assert error.id == "flotilla_realtime.E021" and "redis://" in str(error.hint)
    monkeypatch.setattr(in_process, "can_run", lambda: False)
    (error,) = [message for message in run_checks(tags=["realtime"]) if "engine" in message.msg]
    assert error.id == "flotilla_realtime.E020" and "pip install" in str(error.hint)
    for wrong in ("memory://host", "memory:///0", "memory://,memory://"):
        foreign.FLOTILLA = {"redis_url": wrong}
        assert any("redis_url" in str(problem) for problem in problems()), wrong


def test_the_apps_are_those_of_this_project(settings: Any) -> None:
    assert [name for name in settings.INSTALLED_APPS if name.startswith("flotilla.")] == apps()
