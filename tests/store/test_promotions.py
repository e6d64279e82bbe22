"""What the sentinel that leads a failover says of the replica that is next."""

import pytest

from flotilla.store.promotions import Host, replica_named


@pytest.mark.parametrize(
    ("told", "replica"),
    [
        (b"slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379", ("10.0.0.2", 6379)),
        (b"slave [::1]:7000 ::1 7000 @ mymaster ::1 6379", ("::1", 7000)),
        (b"slave redis-2.example:6379 redis-2.example 6379 @ mymaster redis-1.example 6379", ("redis-2.example", 6379)),
        (b"slave 10.0.0.2:6379 10.0.0.2 6379 @ another 10.0.0.1 6379", None),
        (b"master mymaster 10.0.0.1 6379", None),
        (b"slave 10.0.0.2:6379 10.0.0.2 many @ mymaster 10.0.0.1 6379", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_only_the_replica_of_the_own_master_is_meant(told: bytes, replica: Host | None) -> None:
    assert replica_named(told, "mymaster") == replica
