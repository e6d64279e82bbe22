"""Every attack, by name. What each does stands in its function; how it is judged, in `tests.hostile.verdict`."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from tests.hostile import attacks_bodies, attacks_doors, attacks_frames, attacks_responses, transfers
from tests.hostile.attacker import Aim


@dataclass(frozen=True)
class Attack:
    """One attack. `http`: it is played behind the balancer too. `unavailable`: it may be answered with 503."""

    name: str
    what: str
    group: str
    play: Callable[[Aim], Awaitable[None]]
    http: bool
    unavailable: bool = False


def _of(module: ModuleType, names: Iterable[str], http: bool) -> list[Attack]:
    made = []
    for name in names:
        play = getattr(module, name)
        what = (play.__doc__ or "").strip().splitlines()[0].rstrip(".")
        group = module.__name__.rpartition(".")[2].removeprefix("attacks_")
        made.append(Attack(name.replace("_", "-"), what, group, play, http, name in MAY_BE_503))
    return made


MAY_BE_503 = {"many_slow_pages"}
ATTACKS = {
    attack.name: attack
    for attack in (
        *_of(attacks_bodies, attacks_bodies.ALL, True),
        *_of(attacks_responses, attacks_responses.ALL, True),
        *_of(attacks_doors, attacks_doors.HTTP, True),
        *_of(attacks_doors, attacks_doors.SOCKETS, False),
        *_of(attacks_frames, attacks_frames.ALL, False),
        *_of(transfers, transfers.ALL, True),
    )
}
