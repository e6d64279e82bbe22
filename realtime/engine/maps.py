"""Maps for coroutines (`set`, …) and threads (`set_sync`, …): what is asked is in `map_calls`.

Of whatever Redis answers it is noted how far the channel's stream is, as with publications (`broker`).
"""

from typing import Any, TypedDict, Unpack

from flotilla.realtime.engine import map_calls
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.calls import Call
from flotilla.realtime.engine.map_calls import Author, Changed, MapOptions, MapPage, Mode


class SetKeywords(TypedDict, total=False):
    """The keywords of `set`, as those of `map_calls.set_entry`."""

    by: Author
    ttl: float
    mode: Mode
    present: str


class RemoveKeywords(TypedDict, total=False):
    """The keywords of `remove`, as those of `map_calls.remove_entry`."""

    by: Author


class StateKeywords(TypedDict, total=False):
    """The keywords of `state`, as those of `map_calls.state`."""

    after: str
    limit: int
    max_bytes: int
    key: str


class Maps:
    """Changes and reads maps. Every method raises StoreUnavailable; a change may then have been made or not."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def set(
        self, channel: str, key: str, body: bytes, options: MapOptions, **keywords: Unpack[SetKeywords]
    ) -> Changed:
        """Set an entry, unless a limit or its owner forbids it."""
        return self._changed(channel, await self._run(map_calls.set_entry(channel, key, body, options, **keywords)))

    def set_sync(
        self, channel: str, key: str, body: bytes, options: MapOptions, **keywords: Unpack[SetKeywords]
    ) -> Changed:
        """`set` for threads."""
        return self._changed_there(channel, map_calls.set_entry(channel, key, body, options, **keywords))

    async def remove(self, channel: str, key: str, options: MapOptions, **keywords: Unpack[RemoveKeywords]) -> Changed:
        """Take an entry out, unless it is another's."""
        return self._changed(channel, await self._run(map_calls.remove_entry(channel, key, options, **keywords)))

    def remove_sync(self, channel: str, key: str, options: MapOptions, **keywords: Unpack[RemoveKeywords]) -> Changed:
        """`remove` for threads."""
        return self._changed_there(channel, map_calls.remove_entry(channel, key, options, **keywords))

    async def end(self, channel: str, options: MapOptions) -> int:
        """Take out entries whose time is over; returns how many they were."""
        changed = self._changed(channel, await self._run(map_calls.end_entries(channel, options)))
        return changed.code

    async def state(self, channel: str, options: MapOptions, **keywords: Unpack[StateKeywords]) -> MapPage:
        """A page of entries, or one."""
        call = map_calls.state(channel, options, **keywords)
        page, count = map_calls.read_state(await self._run(call))
        self._broker.heard(channel, page.top, count)
        return page

    def state_sync(self, channel: str, options: MapOptions, **keywords: Unpack[StateKeywords]) -> MapPage:
        """`state` for threads."""
        call = map_calls.state(channel, options, **keywords)
        page, count = map_calls.read_state(self._run_sync(call))
        self._broker.counted(channel, page.top, count)
        return page

    def _changed(self, channel: str, answer: Any) -> Changed:
        changed, count = map_calls.read_changed(answer)
        self._broker.heard(channel, changed.position, count)
        return changed

    def _changed_there(self, channel: str, call: Call) -> Changed:
        changed, count = map_calls.read_changed(self._run_sync(call))
        self._broker.counted(channel, changed.position, count)
        return changed

    async def _run(self, call: Call) -> Any:
        return await self._broker.store.shard_for(call.placement).run(call.script, call.keys, call.args)

    def _run_sync(self, call: Call) -> Any:
        return self._broker.store.shard_for(call.placement).run_sync(call.script, call.keys, call.args)
