"""Who renders live models' rows of which only the database saw the change: the room above (`realtime.live`) says."""

from collections.abc import Callable, Mapping, Sequence

Place = tuple[str, str]
"""A channel and a key in it."""
Rendering = tuple[str, bytes | None]
"""The operation that holds for a row now: `set` with the JSON of its data, or `remove` and None where the row is not in
the channel any more."""
Render = Callable[[str, Sequence[Place], str, int], Mapping[Place, Rendering]]
"""`(live, places, using, above)`: what holds in each of these places. What waits there behind the position `above` is
rendered as well, when it is sent. Called by the relay's thread, which may ask databases."""

_render: list[Render] = []


class CannotRender(Exception):
    """There is nobody who renders this row."""


def use(render: Render) -> None:
    """Have rows rendered by this function."""
    _render[:] = [render]


def render(live: str, places: Sequence[Place], using: str, above: int) -> Mapping[Place, Rendering]:
    """What holds in these places now. Raises CannotRender, and what rendering raises."""
    if not _render:
        raise CannotRender(f"nobody renders rows of {live}")
    return _render[0](live, places, using, above)
