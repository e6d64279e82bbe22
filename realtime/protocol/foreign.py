"""JSON as others write it, read into our types and written back.

Valid JSON that msgspec or our types would refuse: half of a surrogate pair as an escape (`"\\ud83d"`, an emoji that was
cut in two), null for a member that is absent, a whole number written `1.0`, nesting beyond Python's recursion. `read`
takes them; what msgspec takes at once costs nothing more, and everything else is gone through a fixed number of times,
in time that grows with its length alone.

Payloads (`Raw` members) keep every byte. To get past msgspec, the backslash and `u` of a half are replaced by a mark
that is not in the text, and put back afterwards. What is nested too deep cannot be used; it is only told which member
it was, so that others of the text are not lost with it.
"""

import json
import re
import secrets
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, inspect

from flotilla.realtime.protocol.nesting import MAX_DIGITS

Kind = TypeVar("Kind")

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What `read`, `plain` and `one_line` raise for a text that cannot be used; ValidationError is a DecodeError."""

MAX_FRACTION = 40  # characters of a whole number with a point or an exponent
MAX_LEVELS = 300  # of lists and objects that are read, where a text has more than Python can follow

_TOO_DEEP = Raw(b"!")  # no JSON: nobody takes it for a payload

_NULL = b"null"
_FRACTION = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_MAYBE_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    rb"(?:\\\\)+"  # escaped backslashes: what follows them is no escape
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"  # a half
)
_HALF = re.compile("[\ud800-\udfff]")
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[{\]}]', re.DOTALL)
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode


def read(text: bytes, kind: type[Kind], *, however_deep: bool = False) -> tuple[Kind, frozenset[str]]:
    """A text as a Struct, and the names of its unfit members.

    These are the ones with half surrogates outside of payloads, and, where the text may be `however_deep`, those that
    are nested beyond all measure.

    Raises one of UNREADABLE.
    """
    struct: Any = kind
    try:
        return _decoder(struct).decode(text), frozenset()
    except (msgspec.DecodeError, RecursionError):
        marked, half = _marked(text)
    deep = b""
    try:
        found: Kind = _decoder(struct).decode(_tidied(marked, _shape(struct)))
    except RecursionError:
        if not however_deep:
            raise
        deep = _mark_for(marked)
        found = _decoder(struct).decode(_tidied(_cut(marked, b'"%s"' % deep), _shape(struct)))
    return found, _put_back(found, Marks(half, deep)) if half or deep else frozenset()


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


@cache
def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind)


@cache
def _shape(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _fields(kind: Any) -> dict[str, inspect.Type]:
    return {field.encode_name: field.type for field in inspect.type_info(kind).fields}  # type: ignore[attr-defined]


# Half surrogates, and what is nested too deep


class Marks(NamedTuple):
    """What stands in a text for the beginning of a half surrogate, and for what was cut; b"" for none of it."""

    half: bytes
    deep: bytes


def _mark_for(text: bytes) -> bytes:
    """Something that is not in the text, nor to be guessed by who wrote it."""
    while (mark := secrets.token_hex(8).encode()) in text:
        pass
    return mark


def _marked(text: bytes) -> tuple[bytes, bytes]:
    """The text with halves marked, and the mark; b"" when there are none."""
    if _MAYBE_HALF.search(text) is None:
        return text, b""
    mark = _mark_for(text)
    marked = _ESCAPES.sub(lambda found: mark + found[1] if found[1] else found[0], text)
    return (marked, mark) if marked != text else (text, b"")


def _cut(text: bytes, instead: bytes) -> bytes:
    """The text with everything that is nested deeper than MAX_LEVELS replaced."""
    kept, begin, depth = [], 0, 0
    for found in _STRUCTURE.finditer(text):
        sign = found[0]
        if sign in (b"[", b"{"):
            depth += 1
            if depth == MAX_LEVELS + 1:
                kept.append(text[begin : found.start()])
        elif sign in (b"]", b"}"):
            depth -= 1
            if depth == MAX_LEVELS:
                kept.append(instead)
                begin = found.end()
    return b"".join(kept) + (text[begin:] if depth <= MAX_LEVELS else b"")


def _put_back(found: Any, marks: Marks) -> frozenset[str]:
    """Undo the marks in a Struct; the names of unfit members."""
    unfit = set()
    for name in found.__struct_fields__:
        value, is_unfit = _unmarked(getattr(found, name), marks)
        setattr(found, name, value)
        if is_unfit:
            unfit.add(name)
    return frozenset(unfit)


def _unmarked(value: Any, marks: Marks) -> tuple[Any, bool]:
    """A value as it was meant, and whether it is unfit."""
    if isinstance(value, Raw):
        payload = bytes(value)
        if marks.deep and marks.deep in payload:
            return _TOO_DEEP, True
        return Raw(payload.replace(marks.half, b"\\u") if marks.half else payload), False
    if isinstance(value, str):
        return _with_halves(value, marks)
    if isinstance(value, msgspec.Struct):
        return value, bool(_put_back(value, marks))
    if isinstance(value, dict):
        pairs = [(_unmarked(key, marks), _unmarked(one, marks)) for key, one in value.items()]
        return {key[0]: one[0] for key, one in pairs}, any(key[1] or one[1] for key, one in pairs)
    if isinstance(value, list):
        items = [_unmarked(one, marks) for one in value]
        return [one for one, _ in items], any(is_unfit for _, is_unfit in items)
    return value, False


def _with_halves(text: str, marks: Marks) -> tuple[str, bool]:
    pieces = text.split(marks.half.decode()) if marks.half else [text]
    return pieces[0] + "".join(chr(int(one[:4], 16)) + one[4:] for one in pieces[1:]), len(pieces) > 1


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
    if text.removeprefix(b"-").isdigit() or not _FRACTION.fullmatch(text) or len(text) > MAX_FRACTION:
        return text
    number = float(text)
    return b"%d" % int(number) if number.is_integer() else text


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)
