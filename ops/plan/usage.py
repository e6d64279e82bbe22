"""What a load takes of each instance and each Redis, for given numbers of them. CPU in cores, memory in bytes.

Each figure is a sum of parts with names, so that people can see of what it is made.
"""

from dataclasses import dataclass
from math import ceil, exp

from flotilla.ops.plan.costs import Costs, Instance, RedisCosts
from flotilla.ops.plan.load import Load
from flotilla.ops.plan.turns import cooled, reached, turns
from flotilla.presence.registry import REFRESH_EVERY

MICRO = 1e-6
PAGE = 4096  # bytes of a stream that Redis allocates at a time
HEADERS = 66  # bytes of Ethernet, IP and TCP around a message

Parts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one instance and one Redis, on average: cores by part, bytes by part, network in bytes a second."""

    instances: int
    nodes: int
    instance_cpu: Parts
    instance_memory: Parts
    redis_cpu: Parts
    redis_memory: Parts
    redis_in: float
    redis_out: float
    redis_commands: float
    clients_out: float
    """From one instance to its clients."""
    instance_in: float
    """From Redis to one instance."""
    connections: float
    """Of one instance."""
    instance_channels: float
    """That one instance listens to."""

    @property
    def instance(self) -> float:
        """Cores that an instance uses."""
        return sum(self.instance_cpu.values())

    @property
    def redis(self) -> float:
        """Cores that a Redis uses."""
        return sum(self.redis_cpu.values())

    @property
    def cores(self) -> float:
        """That are busy, of all instances and Redises."""
        return self.instance * self.instances + self.redis * self.nodes

    @property
    def instance_bytes(self) -> float:
        """Memory that an instance uses."""
        return sum(self.instance_memory.values())

    @property
    def redis_bytes(self) -> float:
        """Memory that a Redis uses."""
        return sum(self.redis_memory.values())


class Flows:
    """What happens in a second: in all, and what of it in one instance and at one Redis."""

    def __init__(self, load: Load, instances: int, nodes: int) -> None:
        self.load, self.instances, self.nodes = load, instances, nodes
        self.of_a_redis = ceil(load.rooms / nodes) / load.rooms  # of the rooms: each is on one Redis, whole
        self.reach = reached(load.members, instances)  # instances with members of a room
        self.channels = load.rooms * self.reach / instances  # of one instance
        self.heard = load.rate * self.reach / instances  # publications that one instance is given
        self.taken = load.rate * load.from_clients / instances
        self.deliveries = load.deliveries / instances
        self.come = load.reconnects / instances
        self.subscribed = self.come * load.subscriptions_each
        told = 2 * load.reconnects * load.subscriptions_each if load.join_leave and load.presence else 0.0
        self.told = told  # joins and leaves, of the cluster
        self.told_heard = told * self.reach / instances
        self.told_deliveries = told * load.members / instances
        quiet = exp(-load.room_rate * load.check_every) / load.check_every if load.history else 0.0
        self.checks = self.channels * load.history * quiet
        scopes = self.channels + load.users / instances if load.presence else load.users / instances
        self.refreshes = scopes / REFRESH_EVERY
        first = (1 - 1 / instances) ** max(load.members - 1, 0) if instances > 1 else float(load.members <= 1)
        self.first = self.subscribed * first  # subscriptions that open a channel here


def usage(load: Load, costs: Costs, instances: int, nodes: int) -> Usage:
    """For so many of each."""
    flows = Flows(load, instances, nodes)
    cpu = _instance_cpu(flows, costs)
    own = costs.instance
    frame = costs.frame_bytes + load.size
    return Usage(
        instances=instances,
        nodes=nodes,
        instance_cpu=cpu,
        instance_memory={
            "the process": own.base_bytes,
            "connections": load.connections / instances * each_connection(load, costs, "held_bytes"),
            "channels": flows.channels * costs.channel.held_bytes,
        },
        redis_cpu=_redis_cpu(flows, costs),
        redis_memory=_redis_memory(flows, costs),
        redis_in=load.rate * flows.of_a_redis * (costs.redis.asked_bytes + load.size),
        redis_out=load.rate * flows.of_a_redis * flows.reach * (costs.redis.announced_bytes + load.size),
        redis_commands=_commands(flows, costs),
        clients_out=flows.deliveries * (frame * load.compressed_to + HEADERS),
        instance_in=flows.heard * (costs.redis.announced_bytes + load.size),
        connections=load.connections / instances,
        instance_channels=flows.channels,
    )


def each_connection(load: Load, costs: Costs, what: str) -> float:
    """What one connection with all its subscriptions costs of one kind, without the channels that it opens."""
    subscriptions = load.subscriptions_each
    total = getattr(costs.connection, what) + (subscriptions - 1) * getattr(costs.subscription, what)
    total += getattr(costs.user, what) * load.users / max(load.users + load.visitors, 1)
    if load.presence:
        total += subscriptions * getattr(costs.presence, what)
    return float(max(total, 0.0))


def each_delivery(load: Load, costs: Costs) -> float:
    """Microseconds of one message to one subscriber."""
    return costs.instance.delivery_us + load.size * costs.instance.delivery_byte_us


def _instance_cpu(flows: Flows, costs: Costs) -> Parts:
    load, own = flows.load, costs.instance
    taken = load.history * own.taken_us + (1 - load.history) * own.taken_plain_us
    heard = own.heard_us + load.size * own.heard_byte_us
    delivery = each_delivery(load, costs)
    come = each_connection(load, costs, "come_us") + each_connection(load, costs, "go_us")
    heard_all = flows.heard + flows.told_heard
    parts = {
        "itself": own.base_us,
        "connections that stay": load.connections / flows.instances * own.stay_us,
        "connects and their ends": flows.come * come + flows.first * (costs.channel.come_us + costs.channel.go_us),
        "publications taken in": flows.taken * taken,
        "publications heard": heard_all * heard,
        "quiet channels compared": (flows.checks + flows.refreshes) * own.check_us,
    }
    if load.compressed_to < 1:
        frame = (costs.frame_bytes + load.size) / costs.compressed_at
        parts["compression"] = heard_all * costs.compressed_us * frame
    events = flows.taken * own.taken_wakes + max(heard_all - flows.taken, 0.0)
    parts = {name: value * MICRO for name, value in parts.items()}
    rest = sum(parts.values())
    count = turns(events, lambda n: rest + MICRO * (_deliveries(flows, costs, n, delivery) + _woken(n, own)))
    return {
        **parts,
        "deliveries": _deliveries(flows, costs, count, delivery) * MICRO,
        "waking up": _woken(count, own) * MICRO,
    }


def _woken(count: float, own: Instance | RedisCosts) -> float:
    """Microseconds that so many turns take by themselves."""
    return count * own.wake_us * cooled(count, own.cooling)


def _deliveries(flows: Flows, costs: Costs, count: float, delivery: float) -> float:
    """Publications of a room that are heard in one turn leave as one message."""
    rate = flows.load.room_rate
    together = rate / count if count else 0.0
    messages = (1 - exp(-together)) / together if together > 1e-9 else 1.0
    joined = (1 - messages) * costs.instance.joined_us
    return flows.deliveries * (messages * delivery + joined) + flows.told_deliveries * delivery


def _redis_cpu(flows: Flows, costs: Costs) -> Parts:
    load, own, nodes, here = flows.load, costs.redis, flows.nodes, flows.of_a_redis
    published = load.history * own.published_us + (1 - load.history) * own.published_plain_us
    come = each_connection(load, costs, "redis_come_us") + each_connection(load, costs, "redis_go_us")
    channel = costs.channel.redis_come_us + costs.channel.redis_go_us
    events = load.rate * here
    parts = {
        "itself": own.base_us,
        "instances that are there": flows.instances * own.instance_us,
        "publications": events * (published + load.size * own.published_byte_us)
        + flows.told * here * own.published_plain_us,
        "instances that listen": (load.rate + flows.told) * here * flows.reach * own.listener_us,
        "connects and their ends": load.reconnects / nodes * come + flows.first * flows.instances * here * channel,
        "quiet channels compared": (flows.checks + flows.refreshes) * flows.instances * here * own.check_us,
    }
    parts = {name: value * MICRO for name, value in parts.items()}
    rest, sends = sum(parts.values()), flows.reach * own.write_us
    count = turns(events, lambda n: rest + MICRO * (_woken(n, own) + n * sends))
    return {**parts, "waking up, and sends": MICRO * (_woken(count, own) + count * sends)}


def _redis_memory(flows: Flows, costs: Costs) -> Parts:
    load, own, here = flows.load, costs.redis, flows.of_a_redis
    each = own.kept_bytes + load.size * own.kept_byte_bytes
    kept = load.rooms * load.history * here if load.rate else 0.0
    return {
        "the process": own.base_bytes,
        "connections and presence": load.connections / flows.nodes * each_connection(load, costs, "redis_bytes"),
        "channels that are listened to": load.rooms * here * flows.reach * costs.channel.redis_bytes,
        "streams": kept * own.stream_bytes,
        "publications in history": kept * _history(load, each),
    }


def _history(load: Load, each: float) -> float:
    """Bytes of one room's, beside its stream. A stream begins with a page half of which it needs on average; a history
    that is trimmed has another half, of which nothing is needed any more."""
    if load.kept < load.history_size:
        return max(load.kept * each - PAGE / 2, 0.0)
    return max(load.kept - 1, 0.0) * each


def _commands(flows: Flows, costs: Costs) -> float:
    load, nodes, here = flows.load, flows.nodes, flows.of_a_redis
    beside = flows.instances * costs.instance.base_commands
    come = (
        load.reconnects * each_connection(load, costs, "commands")
        + flows.first * flows.instances * costs.channel.commands
    )
    return load.rate * here + beside + come / nodes + (flows.checks + flows.refreshes) * flows.instances * here
