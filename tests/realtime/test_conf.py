"""The configuration: what is read from where, and that every fault is named with its path, source and mend."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flotilla.config_reader import ConfigProblems, parse_duration
from flotilla.problems import Problem
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig, get_config


@pytest.fixture(autouse=True)
def _bare_settings(settings: Any) -> Any:
    """No setting of the project decides these tests."""
    settings.REALTIME = {}
    settings.RATE_LIMITS = {}
    settings.FLOTILLA = {name: value for name, value in settings.FLOTILLA.items() if name != "relay"}
    for name in ("REALTIME_CONFIG", "REALTIME_TOKEN_SECRET", "REALTIME_API_KEYS", "REALTIME_ALLOWED_ORIGINS"):
        setattr(settings, name, None)
    get_config.reset()
    yield
    get_config.reset()


def problems_of(realtime: object) -> list[Problem]:
    with override_settings(REALTIME=realtime), pytest.raises(ConfigProblems) as caught:
        get_config.read()
    return list(caught.value.problems)


def the_problem(realtime: object) -> Problem:
    (problem,) = problems_of(realtime)
    return problem


def test_nothing_set_gives_the_closed_defaults() -> None:
    config = get_config.read()
    assert config == RealtimeConfig()
    assert (config.insecure, config.anonymous, config.user_personal_channel) == (False, False, False)
    assert config.without_namespace == ChannelOptions()
    assert not any(getattr(ChannelOptions(), name) for name in dir(ChannelOptions()) if name.startswith("allow"))
    assert (config.recovery_max_publications, config.recovery_max_bytes) == (300, 524288)
    assert config.without_namespace.history_meta_ttl == 720 * 3600


@pytest.mark.parametrize(
    ("given_value", "seconds"),
    [(90, 90), (1.5, 1.5), ("90s", 90), ("5m", 300), ("2h", 7200), ("720h", 2592000), ("1h30m", 5400), ("500ms", 0.5)],
)
def test_durations_are_numbers_or_text_with_units(given_value: object, seconds: float) -> None:
    options = {"history_size": 10, "history_ttl": given_value}
    with override_settings(REALTIME={"without_namespace": options}):
        assert get_config.read().without_namespace.history_ttl == seconds


@given(st.integers(0, 10**6), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_any_count_of_a_unit_is_that_many_seconds(count: int, unit: tuple[str, float]) -> None:
    assert parse_duration(f"{count}{unit[0]}") == pytest.approx(count * unit[1])


@pytest.mark.parametrize("wrong", ["", "90", "s", "-5s", "5 s", "5x", "1e3s", "٣s", True, None, [], -1, float("nan")])
def test_a_wrong_duration_is_refused_with_the_form_it_should_have(wrong: object) -> None:
    problem = the_problem({"without_namespace": {"history_size": 1, "history_ttl": wrong}})
    assert problem.path == "without_namespace.history_ttl"
    assert "720h" in problem.hint


def test_a_negative_number_is_named_with_its_path_and_value() -> None:
    problem = the_problem({"namespaces": {"chat": {"history_size": -1, "history_ttl": 5}}})
    assert str(problem).startswith("namespaces.chat.history_size: expected `int` >= 0, got -1 (in settings.REALTIME).")


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_a_flag_takes_only_a_bool(wrong: object) -> None:
    assert the_problem({"insecure": wrong}).path == "insecure"


@pytest.mark.parametrize("wrong", [True, 1.5, "10"])
def test_a_count_takes_only_an_int(wrong: object) -> None:
    assert the_problem({"max_channels": wrong}).path == "max_channels"


def test_an_unknown_key_suggests_the_closest_known_one() -> None:
    problem = the_problem({"namespaces": {"chat": {"histroy_size": 10}}})
    assert (problem.path, problem.message) == ("namespaces.chat.histroy_size", "unknown key")
    assert problem.hint == "Did you mean 'history_size'?"


def test_an_unknown_key_like_no_other_lists_the_known_ones() -> None:
    assert "namespaces" in the_problem({"zzzzzz": 1}).hint


def test_every_fault_is_told_at_once() -> None:
    found = problems_of(
        {"insecure": "no", "bogus": 1, "namespaces": {"a": {"presence": 3}, "b": {"history_ttl": "5s"}}}
    )
    assert {problem.path for problem in found} == {
        "insecure",
        "bogus",
        "namespaces.a.presence",
        "namespaces.b.history_ttl",
    }


@pytest.mark.parametrize("wrong", [None, [], "x", 3])
def test_what_should_be_a_mapping_is_named(wrong: object) -> None:
    assert "expected a mapping" in the_problem(wrong).message
    assert the_problem({"namespaces": {"chat": wrong}}).path == "namespaces.chat"


def test_a_key_that_is_no_text_is_named() -> None:
    assert the_problem({"namespaces": {7: {}}}).path == "namespaces"


@pytest.mark.parametrize("name", ["", "a:b", "a b", "$a", "#a", "é"])
def test_a_namespace_no_channel_could_name_is_refused(name: str) -> None:
    assert the_problem({"namespaces": {name: {}}}).path == f"namespaces.{name}"


@pytest.mark.parametrize(
    ("key", "value", "missing"), [("history_size", 5, "history_ttl"), ("history_ttl", 5, "history_size")]
)
def test_half_a_history_is_refused_and_the_other_half_named(key: str, value: int, missing: str) -> None:
    problem = the_problem({"namespaces": {"chat": {key: value}}})
    assert problem.path == f"namespaces.chat.{key}"
    assert missing in problem.hint


@pytest.mark.parametrize("key", ["force_recovery", "force_positioning"])
def test_what_needs_history_is_refused_without(key: str) -> None:
    problem = the_problem({"without_namespace": {key: True}})
    assert problem.path == f"without_namespace.{key}"
    assert "history_size" in problem.hint


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"force_recovery_mode": "cache"}, "force_recovery_mode"),
        ({"force_recovery_mode": "cache", "history_size": 1, "history_ttl": 60}, "force_recovery_mode"),
        ({"force_recovery_mode": "cache", "allow_recovery": True}, "force_recovery_mode"),
        ({"force_recovery_mode": "newest"}, "force_recovery_mode"),
        ({"auto_cache_recover": True}, "auto_cache_recover"),
        (
            {"auto_cache_recover": True, "force_recovery": True, "history_size": 1, "history_ttl": 60},
            "auto_cache_recover",
        ),
        (
            {
                "auto_cache_recover": True,
                "force_recovery_mode": "cache",
                "allow_recovery": True,
                "history_size": 1,
                "history_ttl": 60,
            },
            "auto_cache_recover",
        ),
    ],
)
def test_a_cache_that_nobody_recovers_from_is_refused(options: dict[str, Any], key: str) -> None:
    assert the_problem({"namespaces": {"price": options}}).path == f"namespaces.price.{key}"


@pytest.mark.parametrize("recovery", [{"force_recovery": True, "auto_cache_recover": True}, {"allow_recovery": True}])
def test_a_cache(recovery: dict[str, Any]) -> None:
    options = {"force_recovery_mode": "cache", "history_size": 1, "history_ttl": 60, **recovery}
    with override_settings(REALTIME={"namespaces": {"price": options}}):
        assert get_config.read().namespaces["price"].force_recovery_mode == "cache"


KEPT = {"map": True, "history_size": 10, "history_ttl": 60}


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"map": True}, "map"),
        ({**KEPT, "conflate": True}, "conflate"),
        ({**KEPT, "delta_publish": True}, "delta_publish"),
        ({**KEPT, "allow_tags_filter": True}, "allow_tags_filter"),
        ({**KEPT, "durable": True}, "durable"),
        ({**KEPT, "force_recovery": True, "force_recovery_mode": "cache"}, "force_recovery_mode"),
        ({"map_clients": True}, "map_clients"),
        ({"map_users": True}, "map_users"),
        ({**KEPT, "map_owner": "nobody"}, "map_owner"),
        ({**KEPT, "map_client_key": "mine"}, "map_client_key"),
        ({**KEPT, "map_max_keys": 0}, "map_max_keys"),
        ({**KEPT, "map_key_ttl": -1}, "map_key_ttl"),
    ],
)
def test_a_map_that_cannot_be_is_refused(options: dict[str, Any], key: str) -> None:
    problem = the_problem({"namespaces": {"pad": options}})
    assert problem.path == f"namespaces.pad.{key}" and problem.hint


@pytest.mark.parametrize(("name", "option"), [("clients", "map_clients"), ("users", "map_users")])
def test_maps_of_presence_have_their_names_alone(name: str, option: str) -> None:
    """`$clients:room` would be a private channel of a namespace `clients` as well."""
    watched = {"presence": True, option: True}
    problem = the_problem({"namespaces": {"room": watched, name: {}}})
    assert problem.path == f"namespaces.{name}" and option in problem.hint
    with override_settings(
        REALTIME={"namespaces": {"room": watched, {"clients": "users", "users": "clients"}[name]: {}}}
    ):
        get_config.read()


def test_personal_channels_are_no_maps() -> None:
    """The server subscribes to them, which it cannot to a map: nobody could connect."""
    problem = the_problem({"without_namespace": KEPT, "user_personal_channel": True})
    assert problem.path == "without_namespace.map" and problem.hint
    with override_settings(REALTIME={"without_namespace": KEPT}):
        get_config.read()


def test_a_position_may_not_expire_before_its_publications() -> None:
    options = {"history_size": 1, "history_ttl": "2h", "history_meta_ttl": "1h"}
    assert the_problem({"without_namespace": options}).path == "without_namespace.history_meta_ttl"


def test_pong_timeout_must_be_below_ping_interval_unless_pings_are_off() -> None:
    assert the_problem({"ping_interval": 5, "pong_timeout": 5}).path == "pong_timeout"
    with override_settings(REALTIME={"ping_interval": 0}):
        assert get_config.read().ping_interval == 0


def test_a_policy_is_one_of_those_there_are() -> None:
    assert the_problem({"connection_limit_policy": "eldest"}).path == "connection_limit_policy"
    with override_settings(REALTIME={"connection_limit_policy": "oldest", "max_connections_per_user": 3}):
        assert get_config.read().connection_limit_policy == "oldest"


def test_a_lease_is_renewed_before_it_ends() -> None:
    assert the_problem({"lease_ttl": 2, "lease_renew": 2}).path == "lease_renew"


def test_who_is_without_redis_for_less_than_a_lease_keeps_its_clients() -> None:
    assert the_problem({"disconnect_without_redis_after": 5}).path == "disconnect_without_redis_after"
    with override_settings(REALTIME={"disconnect_without_redis_after": "15s"}):
        assert get_config.read().disconnect_without_redis_after == 15


def test_a_message_that_is_allowed_is_no_more_than_a_second_s_bytes() -> None:
    assert the_problem({"max_message_bytes": 70_000, "max_bytes_per_second": 69_999}).path == "max_bytes_per_second"
    with override_settings(REALTIME={"max_message_bytes": 70_000, "max_bytes_per_second": 70_000}):
        assert get_config.read().max_bytes_per_second == 70_000


@pytest.mark.parametrize("key", ["connect_timeout", "lease_ttl", "max_message_bytes", "recovery_max_publications"])
def test_what_must_be_more_than_nothing_is_not_zero(key: str) -> None:
    assert key in {problem.path for problem in problems_of({key: 0})}


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "example.com",
            "https://",
            "https://a.com/",
            "https://a.com/x",
            "https://a:99999",
            "https://a:0",
            "a.com:443",
        ),
        *("NULL", "file:///", "https://u@a.com", "https://a.com?x", " https://a.com", "https://a..com", "//a.com"),
        *("https://*", "https://*.", "*.a.com", "https://*a.com", "https://x.*.com", "https://*.*.com", "https://a.*"),
        *(
            "https://*.10.0.0.1",
            "https://*.[::1]",
            "app://*.a.com",
            "https://bücher.example",
            "https://*.bücher.example",
        ),
        *("https://[::1", "https://[fe80::1%25eth0]", "https://1.2.3", "https://10.0.0.300", "https://0x7f.1"),
    ],
)
def test_an_origin_is_scheme_and_host_alone(origin: str) -> None:
    problem = the_problem({"allowed_origins": ["https://ok.com", origin]})
    assert problem.path == "allowed_origins"
    assert repr(origin) in problem.message


def test_origins_and_the_star_are_accepted() -> None:
    origins = (
        *("*", "https://a.com", "http://localhost:3000", "http://[::1]:8000", "HTTPS://A.com:443", "https://a.com."),
        *("https://*.a.com", "http://*.a.com:8080", "https://*.xn--bcher-kva.example", "http://*.localhost:3000"),
        *("null", "file://", "capacitor://localhost", "app://.", "chrome-extension://abcdefghij"),
    )
    with override_settings(REALTIME_ALLOWED_ORIGINS=list(origins)):
        assert get_config.read().allowed_origins == origins


def test_a_list_given_as_text_is_refused() -> None:
    with override_settings(REALTIME_ALLOWED_ORIGINS="https://a.com"), pytest.raises(ConfigProblems) as caught:
        get_config.read()
    assert caught.value.problems[0].where == "settings.REALTIME_ALLOWED_ORIGINS"


@pytest.mark.parametrize("hook", ["app.permissions.may", lambda user, channel, info: True, None])
def test_a_hook_is_a_callable_or_its_dotted_path(hook: object) -> None:
    with override_settings(REALTIME={"without_namespace": {"subscribe_permission": hook}}):
        assert get_config.read().without_namespace.subscribe_permission == hook


@pytest.mark.parametrize("hook", ["", "nodots", "a b.c", "a..b", 5, True])
def test_what_is_no_hook_is_refused(hook: object) -> None:
    assert the_problem({"without_namespace": {"publish_permission": hook}}).path.endswith("publish_permission")


@pytest.mark.parametrize("key", ["token_secret", "api_keys"])
def test_a_wrong_secret_is_not_repeated(key: str) -> None:
    problem = the_problem({key: b"hunter2" if key == "token_secret" else {"hunter2": 1}})
    assert problem.path == key
    assert "hunter2" not in str(problem)


def test_the_dedicated_settings_win_where_they_are_set() -> None:
    with override_settings(REALTIME={"token_secret": "low", "api_keys": ["low"]}, REALTIME_TOKEN_SECRET="high"):
        assert (get_config.read().token_secret, get_config.read().api_keys) == ("high", ("low",))


@pytest.mark.parametrize("abuse", [{"denials": 0}, {"window": -1}, {"denials": True}, {"denial": 3}, {"window": "10"}])
def test_abuse_that_makes_no_sense_is_refused(abuse: dict[str, Any]) -> None:
    with override_settings(REALTIME={"abuse": abuse}), pytest.raises(ConfigProblems, match="denials and window"):
        get_config.read()


def test_abuse_is_kept_as_given_or_switched_off() -> None:
    with override_settings(REALTIME={"abuse": None}):
        assert get_config.read().abuse is None
    with override_settings(REALTIME={"abuse": {"denials": 3, "window": 1}}):
        assert get_config.read().abuse == {"denials": 3, "window": 1}


def test_rate_limits_are_merged_by_name_and_kept_as_given() -> None:
    with override_settings(
        RATE_LIMITS={"a": {"rate": "1/s"}, "b": {}}, REALTIME={"rate_limits": {"a": {"rate": "2/s"}}}
    ):
        assert get_config.read().rate_limits == {"a": {"rate": "2/s"}, "b": {}}


BASE = {"insecure": True, "namespaces": {"chat": {"presence": True, "history_size": 5, "history_ttl": 60}, "old": {}}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", json.dumps({"namespaces": {"chat": {"history_size": 9}, "new": {}}})),
        ("c.json", "\ufeff" + json.dumps({"namespaces": {"chat": {"history_size": 9}, "new": {}}})),
        ("c.toml", "[namespaces.chat]\nhistory_size = 9\n[namespaces.new]\n"),
    ],
)
def test_the_file_overrides_settings_option_by_option(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with override_settings(REALTIME=BASE, REALTIME_CONFIG=str(path)):
        config = get_config.read()
    assert config.insecure
    assert config.namespaces["chat"] == ChannelOptions(presence=True, history_size=9, history_ttl=60)
    assert set(config.namespaces) == {"chat", "old", "new"}


def test_a_fault_in_the_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"namespaces": {"chat": {"presence": "yes"}}}')
    with override_settings(REALTIME=BASE, REALTIME_CONFIG=path), pytest.raises(ConfigProblems) as caught:
        get_config.read()
    (problem,) = caught.value.problems
    assert (problem.path, problem.where) == ("namespaces.chat.presence", str(path))


def test_a_fault_between_two_sources_names_both(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"namespaces": {"chat": {"history_ttl": "800h"}}}')
    chat = {"history_size": 1, "history_ttl": 5, "history_meta_ttl": 60}
    with (
        override_settings(REALTIME={"namespaces": {"chat": chat}}, REALTIME_CONFIG=path),
        pytest.raises(ConfigProblems) as caught,
    ):
        get_config.read()
    assert caught.value.problems[0].where == f"settings.REALTIME and {path}"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("c.json", b"{,}", "line 1 column 2"),
        ("c.json", b'{"insecure": true, "insecure": false}', "'insecure' appears twice"),
        ("c.json", b'{"ping_interval": NaN}', "NaN is not JSON"),
        ("c.json", b"\xff\xfe", "decode"),
        ("c.json", b"[" * 100_000, "recursion"),
        ("c.toml", b"insecure = maybe", "line 1"),
        ("missing.json", None, "No such file"),
    ],
)
def test_an_unreadable_file_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with override_settings(REALTIME_CONFIG=str(path)), pytest.raises(ConfigProblems) as caught:
        get_config.read()
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    assert expected in problem.message


def test_the_config_is_read_once_and_again_when_a_setting_changes() -> None:
    first = get_config()
    assert get_config() is first
    with override_settings(REALTIME={"insecure": True}):
        assert get_config().insecure
    assert not get_config().insecure


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*RealtimeConfig.__struct_fields__, *ChannelOptions.__struct_fields__, "x"])
OPTIONS = st.dictionaries(KEYS, JSON_VALUES, max_size=4) | JSON_VALUES


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, OPTIONS | st.dictionaries(st.just("chat"), OPTIONS), max_size=4))
def test_any_mapping_gives_a_config_or_named_problems_and_nothing_else(realtime: dict[str, Any]) -> None:
    with override_settings(REALTIME=realtime):
        try:
            assert isinstance(get_config.read(), RealtimeConfig)
        except ConfigProblems as error:
            assert all(problem.message and problem.where for problem in error.problems)


def test_a_namespace_of_the_platform_s_own_cannot_be_configured() -> None:
    """Whoever configured it would open what is staff's."""
    taken = {"namespaces": {"flotilla": {"allow_subscribe_for_client": True}}}
    with override_settings(REALTIME=taken), pytest.raises(ConfigProblems, match="taken"):
        get_config.read()
