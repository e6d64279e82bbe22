"""What each operation costs, as it was measured on some machine: a file in this package, or one's own.

CPU times are microseconds of one core, memory is bytes. `make measure-costs` writes such a file.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

OWN = Path(__file__).with_name("costs.json")

Cost = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]


class CostsError(ValueError):
    """A file of costs that cannot be used; the text says why and what to do."""


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the costs are from: the machine, the command that measured them, the day, and in how many rounds."""

    machine: str
    redis: str
    command: str
    day: str
    rounds: int


class Thing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that comes, stays for long and goes: what coming and going cost, and what it holds meanwhile."""

    come_us: Cost
    go_us: Cost
    held_bytes: Cost
    redis_come_us: Cost
    redis_go_us: Cost
    redis_bytes: Cost
    commands: Cost
    """Sent to Redis when it comes and when it goes, together."""


class Instance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one process."""

    base_us: Cost
    """In a second, with nobody connected."""
    base_bytes: Cost
    base_commands: Cost
    """Sent to Redis in a second, with nobody connected."""
    wake_us: Cost
    """A turn of an event loop that turns 400 times a second, whatever it then has to do: system calls, cold caches."""
    cooling: Share
    """How much dearer a turn is where turns are rarer: by (400 / turns a second) to this power."""
    taken_us: Cost
    """A publication with history that a client sends: read, checked, sent to Redis, answered."""
    taken_plain_us: Cost
    """The same without history."""
    taken_wakes: Cost
    """Turns that it takes by itself, with that in which it is heard."""
    heard_us: Cost
    """A publication that comes from Redis for subscribers here: read, framed once."""
    heard_byte_us: Cost
    delivery_us: Cost
    """A message to one subscriber: one send."""
    delivery_byte_us: Cost
    joined_us: Cost
    """A publication to one subscriber that leaves in one message with the one before it."""
    stay_us: Cost
    """A connection in a second: pings and pongs, checks of its access."""
    check_us: Cost
    """A quiet channel with history is compared with Redis."""


class RedisCosts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one Redis."""

    base_us: Cost
    """In a second, by itself."""
    instance_us: Cost
    """In a second, for each instance that is there."""
    base_bytes: Cost
    wake_us: Cost
    """A turn of its event loop, as of an instance's."""
    cooling: Share
    write_us: Cost
    """What a turn writes to one instance that listens: one send."""
    published_us: Cost
    """A publication with history: its script, with the PUBLISH in it."""
    published_plain_us: Cost
    published_byte_us: Cost
    listener_us: Cost
    """A publication to one instance that listens."""
    check_us: Cost
    stream_bytes: Cost
    """A channel that keeps history, with its first publication."""
    kept_bytes: Cost
    """A publication in history, beside its data."""
    kept_byte_bytes: Cost
    """The same for each byte of its data."""
    asked_bytes: Cost
    """Of the network, for a publication's command, beside its data."""
    announced_bytes: Cost
    """Of the network, for a publication to one instance, beside its data."""


class Costs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them. `frame_bytes` is what a message to a client has beside a publication's data."""

    source: Source
    instance: Instance
    redis: RedisCosts
    connection: Thing
    """A visitor's connection with one subscription."""
    user: Thing
    """What a user with a token is beside a visitor."""
    subscription: Thing
    """One subscription more, to a channel that others here have too."""
    presence: Thing
    """What presence is beside that, for each subscription."""
    channel: Thing
    """What the first subscription to a channel in an instance is beside that."""
    frame_bytes: Cost
    compressed_us: Cost
    """To compress a message of `compressed_at` bytes, once in an instance."""
    compressed_at: Annotated[float, Meta(gt=0)]


def read(path: Path | None = None) -> Costs:
    """The costs of a file, or those measured for this package. Raises CostsError."""
    where = path or OWN
    try:
        return msgspec.json.decode(where.read_bytes(), type=Costs)
    except OSError as error:
        raise CostsError(f"{where} cannot be read: {error.strerror or error}. {MEND}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CostsError(f"{where} is no file of costs: {error}. {MEND}") from None


MEND = "`make measure-costs` in a checkout writes such a file."
