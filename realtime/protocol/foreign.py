"""JSON as others write it, read into our types and written back.

Valid JSON that msgspec or our types would refuse: half of a surrogate pair as an escape (`"\\ud83d"`, an emoji that was
cut in two), null for a member that is absent, and a whole number written `1.0`. `read` takes them; what msgspec takes
at once costs nothing more, and everything else is gone through a fixed number of times, in time that grows with its
length alone.

Payloads (`Raw` members) keep every byte. To get past msgspec, the backslash and `u` of a half are replaced by a mark
that is not in the text, and put back afterwards.
"""

import json
import re
import secrets
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, inspect

Kind = TypeVar("Kind")

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What `read`, `plain` and `one_line` raise for a text that cannot be used; ValidationError is a DecodeError."""

MOST_DIGITS = 4300  # of a whole number: Python's own bound

LONGEST_FRACTION = 40  # characters of a whole number with a point or an exponent

_NULL = b"null"
_FRACTION = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_MAYBE_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    rb"(?:\\\\)+"  # escaped backslashes: what follows them is no escape
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"  # a half
)
_HALF = re.compile("[\ud800-\udfff]")
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode


def read(text: bytes, kind: type[Kind]) -> tuple[Kind, frozenset[str]]:
    """A text as a Struct, and the names of those members whose strings hold half surrogates (payloads do not count).

    Raises one of UNREADABLE.
    """
    struct: Any = kind
    try:
        return _decoder(struct).decode(text), frozenset()
    except msgspec.DecodeError:
        marked, mark = _marked(text)
        found: Kind = _decoder(struct).decode(_tidied(marked, _shape(struct)))
        return found, _put_back(found, mark) if mark else frozenset()


def plain(text: bytes) -> Any:
    """A text as plain Python values: half surrogates stay what they are, numbers beyond a float's range infinite."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text, parse_int=_whole)


def one_line(text: bytes) -> bytes:
    """A text without space between its parts. Raises one of UNREADABLE when it is not JSON."""
    try:
        return msgspec.json.format(text, indent=-1)
    except msgspec.DecodeError:
        marked, mark = _marked(text)
        if not mark:
            raise
        return msgspec.json.format(marked, indent=-1).replace(mark, b"\\u")


def write(value: Any, enc_hook: Any = None) -> bytes:
    """A value as compact JSON; half surrogates become escapes. Raises as msgspec's encode does for what is not JSON."""
    try:
        return msgspec.json.encode(value, enc_hook=enc_hook)
    except UnicodeEncodeError:
        mark = secrets.token_hex(8)
        simple = msgspec.to_builtins(value, str_keys=True, enc_hook=enc_hook)
        return msgspec.json.encode(_escaped(simple, mark)).replace(mark.encode(), b"\\u")


def is_whole(text: str) -> bool:
    """Whether a text has no half surrogate, and so can be written as UTF-8."""
    return text.isascii() or _HALF.search(text) is None


@cache
def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind)


@cache
def _shape(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _fields(kind: Any) -> dict[str, inspect.Type]:
    return {field.encode_name: field.type for field in inspect.type_info(kind).fields}  # type: ignore[attr-defined]


# Half surrogates


def _marked(text: bytes) -> tuple[bytes, bytes]:
    """The text with halves marked, and the mark; b"" when there are none."""
    if _MAYBE_HALF.search(text) is None:
        return text, b""
    mark = secrets.token_hex(8).encode()
    while mark in text:
        mark = secrets.token_hex(8).encode()
    marked = _ESCAPES.sub(lambda found: mark + found[1] if found[1] else found[0], text)
    return (marked, mark) if marked != text else (text, b"")


def _put_back(found: Any, mark: bytes) -> frozenset[str]:
    """Undo the marks in a Struct; the names of members whose strings had some."""
    pattern = re.compile(re.escape(mark.decode()) + "([0-9a-fA-F]{4})")
    halved = set()
    for name in found.__struct_fields__:
        value, changed = _unmarked(getattr(found, name), mark, pattern)
        setattr(found, name, value)
        if changed:
            halved.add(name)
    return frozenset(halved)


def _unmarked(value: Any, mark: bytes, pattern: re.Pattern[str]) -> tuple[Any, bool]:
    if isinstance(value, Raw):
        return Raw(bytes(value).replace(mark, b"\\u")), False
    if isinstance(value, str):
        text = pattern.sub(lambda found: chr(int(found[1], 16)), value)
        return text, text != value
    if isinstance(value, msgspec.Struct):
        return value, bool(_put_back(value, mark))
    if isinstance(value, dict):
        pairs = [(_unmarked(key, mark, pattern), _unmarked(one, mark, pattern)) for key, one in value.items()]
        return {key[0]: one[0] for key, one in pairs}, any(key[1] or one[1] for key, one in pairs)
    if isinstance(value, list):
        items = [_unmarked(one, mark, pattern) for one in value]
        return [one for one, _ in items], any(changed for _, changed in items)
    return value, False


def _escaped(value: Any, mark: str) -> Any:
    if isinstance(value, str):
        return _HALF.sub(lambda half: f"{mark}{ord(half[0]):04x}", value)
    if isinstance(value, dict):
        return {_escaped(key, mark): _escaped(one, mark) for key, one in value.items()}
    return [_escaped(one, mark) for one in value] if isinstance(value, list | tuple) else value


# Nulls and whole numbers


def _tidied(text: bytes, shape: inspect.Type) -> bytes:
    """The text with nulls left out and whole numbers written as such, as far as `shape` says what they are."""
    if isinstance(shape, inspect.UnionType):
        shape = _fitting(text, shape)
    if isinstance(shape, inspect.IntType):
        return _whole_number(text)
    if isinstance(shape, inspect.StructType) and text.lstrip().startswith(b"{"):
        return _tidied_struct(text, _fields(shape.cls))
    if isinstance(shape, inspect.DictType) and text.lstrip().startswith(b"{"):
        return _tidied_map(text, shape.value_type)
    if isinstance(shape, inspect.ListType) and text.lstrip().startswith(b"["):
        absent = b'""' if isinstance(shape.item_type, inspect.StrType) else b"{}"
        items = (bytes(one) for one in _items(text))
        return msgspec.json.encode([Raw(absent if one == _NULL else _tidied(one, shape.item_type)) for one in items])
    return text


def _fitting(text: bytes, union: inspect.UnionType) -> inspect.Type:
    """The member of a union that an object, a list or a number can be."""
    wanted: tuple[type, ...] = (inspect.IntType,)
    if text.startswith(b"{"):
        wanted = (inspect.StructType, inspect.DictType)
    elif text.startswith(b"["):
        wanted = (inspect.ListType,)
    return next((one for one in union.types if isinstance(one, wanted)), union)


def _tidied_struct(text: bytes, fields: dict[str, inspect.Type]) -> bytes:
    kept = {}
    for name, value in _members(text).items():
        shape, given = fields.get(name), bytes(value)
        if shape is not None and (given != _NULL or isinstance(shape, inspect.RawType)):
            kept[name] = Raw(_tidied(given, shape))
    return msgspec.json.encode(kept)


def _tidied_map(text: bytes, shape: inspect.Type) -> bytes:
    """A null among texts is left out; among objects, whose key alone says something, it is an empty one."""
    kept = {}
    for name, value in _members(text).items():
        given = bytes(value)
        if given == _NULL and isinstance(shape, inspect.StructType):
            given = b"{}"
        if given != _NULL or isinstance(shape, inspect.RawType | inspect.AnyType):
            kept[name] = Raw(_tidied(given, shape))
    return msgspec.json.encode(kept)


def _whole_number(text: bytes) -> bytes:
    if text.removeprefix(b"-").isdigit() or not _FRACTION.fullmatch(text) or len(text) > LONGEST_FRACTION:
        return text
    number = float(text)
    return b"%d" % int(number) if number.is_integer() else text


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)
