"""The protocol's messages, fields and their numbers, and classes made of them by the `protobuf` library.

One line is one message: `name` of a field, its type, its number. Types: the scalars of Protobuf, names of messages,
`type*` for a list of it, `map<type>` for a map from text. Numbers and names are the protocol's and never change; what
nobody here reads or writes is left out, and skipped where a client sends it.

The classes live in a pool of their own, so that no other schema of the process can collide with them.
"""

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

PACKAGE = "centrifugal.centrifuge.protocol"

_MESSAGES = """
Error: code uint32 1, message string 2, temporary bool 3
Command: id uint64 1, connect ConnectRequest 4, subscribe SubscribeRequest 5, unsubscribe ChannelRequest 6, \
publish PublishRequest 7, presence ChannelRequest 8, presence_stats ChannelRequest 9, history HistoryRequest 10, \
ping Empty 11, send SendRequest 12, rpc RPCRequest 13, refresh RefreshRequest 14, sub_refresh SubRefreshRequest 15
Reply: id uint32 1, error Error 2, push Push 4, connect ConnectResult 5, subscribe SubscribeResult 6, \
unsubscribe Empty 7, publish Empty 8, presence PresenceResult 9, presence_stats PresenceStatsResult 10, \
history HistoryResult 11, ping Empty 12, rpc RPCResult 13, refresh RefreshResult 14, sub_refresh SubRefreshResult 15
Push: id int64 1, channel string 2, pub Publication 4, join Presence 5, leave Presence 6, unsubscribe Unsubscribe 7, \
message SendRequest 8, subscribe Subscribe 9, connect Connect 10, disconnect Disconnect 11, refresh Refresh 12
ClientInfo: user string 1, client string 2, conn_info bytes 3, chan_info bytes 4
Publication: data bytes 4, info ClientInfo 5, offset uint64 6, tags map<string> 7, delta bool 8, time int64 9, \
channel string 10, key string 11, removed bool 12
Presence: info ClientInfo 1
Unsubscribe: code uint32 2, reason string 3
Subscribe: recoverable bool 1, epoch string 4, offset uint64 5, positioned bool 6, data bytes 7
Connect: client string 1, version string 2, data bytes 3, subs map<SubscribeResult> 4, expires bool 5, ttl uint32 6, \
ping uint32 7, pong bool 8, session string 9, node string 10, time int64 11
Disconnect: code uint32 1, reason string 2, reconnect bool 3
Refresh: expires bool 1, ttl uint32 2
ConnectRequest: token string 1, data bytes 2, subs map<SubscribeRequest> 3, name string 4, version string 5, \
headers map<string> 6
ConnectResult: client string 1, version string 2, expires bool 3, ttl uint32 4, data bytes 5, \
subs map<SubscribeResult> 6, ping uint32 7, pong bool 8, session string 9, node string 10, time int64 11
RefreshRequest: token string 1
RefreshResult: client string 1, version string 2, expires bool 3, ttl uint32 4
SubscribeRequest: channel string 1, token string 2, recover bool 3, epoch string 6, offset uint64 7, data bytes 8, \
positioned bool 9, recoverable bool 10, join_leave bool 11, delta string 12, tf FilterNode 13, flag int64 14, \
type int32 15, phase int32 16, cursor string 17, limit int32 18
SubscribeResult: expires bool 1, ttl uint32 2, recoverable bool 3, epoch string 6, publications Publication* 7, \
recovered bool 8, offset uint64 9, positioned bool 10, data bytes 11, was_recovering bool 12, delta bool 13, \
type int32 15, phase int32 16, cursor string 17, state Publication* 18
SubRefreshRequest: channel string 1, token string 2
SubRefreshResult: expires bool 1, ttl uint32 2
ChannelRequest: channel string 1
PublishRequest: channel string 1, data bytes 2, type int32 3, key string 4, removed bool 5
PresenceResult: presence map<ClientInfo> 1
PresenceStatsResult: num_clients uint32 1, num_users uint32 2
StreamPosition: offset uint64 1, epoch string 2
HistoryRequest: channel string 1, limit int32 7, since StreamPosition 8, reverse bool 9
HistoryResult: publications Publication* 1, epoch string 2, offset uint64 3
RPCRequest: data bytes 1, method string 2
RPCResult: data bytes 1
SendRequest: data bytes 1
FilterNode: op string 1, key string 2, cmp string 3, val string 4, vals string* 5, nodes FilterNode* 6
EmulationRequest: node string 1, session string 2, data bytes 3
Empty:
"""
# `id` of a Command has 32 bits: it is read as 64, so that a larger one is seen to be wrong and not cut short.


class Field(NamedTuple):
    """A field of a message.

    `kind`: its scalar type, or the name of a message; `many`: "" for one of it, "list" or "map" for several.
    """

    name: str
    kind: str
    number: int
    many: str = ""

    @property
    def is_message(self) -> bool:
        """Whether it holds a message (or several)."""
        return self.kind not in _SCALARS


_Proto = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Proto.TYPE_BOOL,
    "bytes": _Proto.TYPE_BYTES,
    "int32": _Proto.TYPE_INT32,
    "int64": _Proto.TYPE_INT64,
    "string": _Proto.TYPE_STRING,
    "uint32": _Proto.TYPE_UINT32,
    "uint64": _Proto.TYPE_UINT64,
}


def _field(words: str) -> Field:
    name, kind, number = words.split()
    if kind.endswith("*"):
        return Field(name, kind[:-1], int(number), "list")
    if kind.startswith("map<"):
        return Field(name, kind[4:-1], int(number), "map")
    return Field(name, kind, int(number))


def _message(line: str) -> tuple[str, dict[str, Field]]:
    name, _, fields = line.partition(":")
    return name, {field.name: field for field in map(_field, filter(str.strip, fields.split(",")))}


MESSAGES: dict[str, dict[str, Field]] = dict(_message(line) for line in _MESSAGES.strip().splitlines())
"""Every message's fields, by its name and theirs."""


def _describe(to: Any, field: Field) -> None:
    """Add a field to a message's description, and the entry of a map to its nested types."""
    to.field.add(name=field.name, number=field.number, label=_Proto.LABEL_OPTIONAL)
    described = to.field[-1]
    if field.many:
        described.label = _Proto.LABEL_REPEATED
    if field.many == "map":
        entry = to.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _describe(entry, Field("key", "string", 1))
        _describe(entry, Field("value", field.kind, 2))
        _refer(described, f"{to.name}.{entry.name}")
    elif field.is_message:
        _refer(described, field.kind)
    else:
        described.type = _SCALARS[field.kind]


def _refer(described: Any, message: str) -> None:
    described.type = _Proto.TYPE_MESSAGE
    described.type_name = f".{PACKAGE}.{message}"


def _classes() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="client.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.values():
            _describe(message, field)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


CLASSES: dict[str, Any] = _classes()
"""The library's class of each message."""
