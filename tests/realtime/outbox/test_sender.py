"""A batch of rows goes to all Redises at once."""

from threading import Barrier
from typing import Any

import pytest

from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.outbox.stats import forget
from flotilla.store import Shard, Store, placement_of
from tests.realtime.outbox.relaying import WITHIN, a_relay, put, stream
from tests.store.redis_process import RedisProcess


@pytest.mark.usefixtures("channels")
def test_no_redis_waits_for_another(
    on_sqlite: str, redis_url: str, mortal_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may take long, and a cluster has many shards; of each channel the order stays."""
    everybody = Barrier(2)
    publish = Broker.publish_rows_sync

    def sent(broker: Broker, shard: Shard, rows: Any) -> Any:
        everybody.wait(WITHIN)
        return publish(broker, shard, rows)

    monkeypatch.setattr(Broker, "publish_rows_sync", sent)
    store = Store([redis_url, mortal_redis.url])
    names = [f"kept:{number}" for number in range(20)]
    assert {store.shard_for(placement_of(name)).index for name in names} == {0, 1}
    forget()
    try:
        for name in names:
            put(on_sqlite, name, 1, 2)
        with a_relay(on_sqlite, store) as relay:
            assert relay.once(WITHIN)
        assert [stream(store, name) for name in names] == [[1, 2]] * len(names)
    finally:
        for shard in store.shards:
            shard.close_sync()
        forget()
