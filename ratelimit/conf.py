"""The settings of the rate limits."""

from typing import Annotated, Any

import msgspec

from flotilla.conf import Part
from flotilla.config_reader import Reader
from flotilla.problems import Problem
from flotilla.ratelimit.keys import TAG
from flotilla.store.address import WrongAddress, parse
from flotilla.store.conf import REDIS_MEND, get_store_config
from flotilla.store.slots import key_slot
from flotilla.store.urls import checked_url, in_slot

MAX_INSTANCES = 256
Instances = Annotated[int, msgspec.Meta(ge=1, le=MAX_INSTANCES)]
INSTANCES = 2
LIMITS = "limits"
"""What the Redis that counts is called where it is apart (`limits_apart`), for people."""


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is limited is in the policies (`flotilla.ratelimit.policies`); this is where and for whom."""

    rate_limit_redis_url: str = ""
    """The Redis that counts; by default the first one of `redis_url`."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose X-Forwarded-For is believed, as `10.0.0.0/8`; by default nobody's."""
    rate_limits: dict[str, Any] = msgspec.field(default_factory=dict)
    """The policies by their names: `{"api": {"guards": "http:api", "key": "user", "rate": "100/m"}}`."""
    rate_limit_background_sync: bool = True
    """Whether a thread keeps the policies in step with the database; off in tests that do it themselves."""
    rate_limit_journal: str = ""
    """A name under which every decision is written down in Redis, for proofs; by default none is."""
    instances: Instances = INSTANCES
    """Processes on this host that `serve` starts: so many share a limit until Redis has said how many there are."""


def _build(reader: Reader) -> LimitsConfig:
    made = LimitsConfig(**reader.values)
    where = reader.where("rate_limit_redis_url")
    try:
        if made.rate_limit_redis_url:
            made = msgspec.structs.replace(made, rate_limit_redis_url=checked_url(made.rate_limit_redis_url))
    except WrongAddress as error:
        reader.problems.append(Problem("rate_limit_redis_url", str(error), REDIS_MEND, where))
    return made


def limits_redis_url() -> str:
    """The address of the Redis that counts, of a cluster that of the limits' slot; empty where none is configured."""
    url = get_limits_config().rate_limit_redis_url or next(iter(get_store_config().redis_urls), "")
    return in_slot(url, key_slot(TAG))


def limits_apart() -> bool:
    """Whether a Redis counts that is none of the store's, however its address is written."""
    own, urls = get_limits_config().rate_limit_redis_url, get_store_config().redis_urls
    return bool(own) and parse(own).data not in [parse(url).data for url in urls]


get_limits_config = Part(
    LimitsConfig,
    {
        "rate_limit_redis_url": "RATE_LIMIT_REDIS_URL",
        "trusted_proxies": "RATE_LIMIT_TRUSTED_PROXIES",
        "rate_limits": "RATE_LIMITS",
        "rate_limit_background_sync": "RATE_LIMIT_BACKGROUND_SYNC",
        "rate_limit_journal": "RATE_LIMIT_JOURNAL",
    },
    build=_build,
)
"""The limits' settings as they are now."""
