"""Fossil deltas (the format of the Fossil version control system's "delta encoding"), as Centrifuge SDKs apply them.

A delta is text of ASCII but for what it inserts: the target's size and a newline; then `n:` and n bytes to insert, or
`n@p,` for n bytes to copy from p of the source, again and again; then the target's checksum and `;`. Numbers are in
base 64 of digits of its own.

Only what differs is searched: what begins and ends alike is copied whole. In between, every 16 bytes of the target are
looked for among the source's aligned blocks of 16; so the cost is linear, whatever the two are. A target that is UTF-8
is cut between characters only, so that its delta is UTF-8 too.
"""

import struct

_BLOCK = 16
_MAX_TRIMMED = 3  # bytes of a character behind its first
DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"


def fossil_delta(source: bytes, target: bytes) -> bytes:
    """The delta that makes the target of the source. It may be longer than the target."""
    head, tail = _common_ends(source, target)
    parts = [_number(len(target)), b"\n"]
    if head:
        parts += _number(head), b"@0,"
    _write_middle(parts, source, target, head, len(target) - tail)
    if tail:
        parts += _number(tail), b"@", _number(len(source) - tail), b","
    parts += _number(fossil_checksum(target)), b";"
    return b"".join(parts)


def fossil_checksum(data: bytes) -> int:
    """The sum of its big-endian words of 32 bits, as if zeros filled the last one, modulo 2³²."""
    words = -(-len(data) // 4)
    total: int = sum(struct.unpack(f">{words}I", data.ljust(words * 4, b"\0")))
    return total & 0xFFFFFFFF


def _common_ends(source: bytes, target: bytes) -> tuple[int, int]:
    """How many bytes both begin with, and how many of the rest both end with; 0 where that is less than a block."""
    most = min(len(source), len(target))
    head = _cut_before(target, _same_forwards(source, 0, target, 0, most), 0)
    if head < _BLOCK:
        head = 0
    tail = _same_backwards(source, len(source), target, len(target), most - head)
    tail = len(target) - _cut_after(target, len(target) - tail, len(target))
    return head, 0 if tail < _BLOCK else tail


def _write_middle(parts: list[bytes], source: bytes, target: bytes, begin: int, end: int) -> None:
    """Inserts and copies for a part of the target."""
    first, following = _blocks(source) if end - begin >= _BLOCK else ({}, {})
    written, place, shift = begin, begin, 0  # `shift`: how far ahead the source was in the last copy
    while place + _BLOCK <= end:
        block = target[place : place + _BLOCK]
        found = place + shift
        if found < 0 or source[found : found + _BLOCK] != block:
            candidate = first.get(block)
            if candidate is None:
                place += 1
                continue
            while following[candidate] <= found:
                candidate = following[candidate]
            first[block] = found = candidate
        before = _same_backwards(source, found, target, place, min(found, place - written))
        most = min(len(source) - found, end - place) - _BLOCK
        after = _BLOCK + _same_forwards(source, found + _BLOCK, target, place + _BLOCK, most)
        start = _cut_after(target, place - before, place + after)
        stop = _cut_before(target, place + after, start)
        shift = found - place
        if start > written:
            parts += _number(start - written), b":", target[written:start]
        parts += _number(stop - start), b"@", _number(start + shift), b","
        written = place = stop
    if end > written:
        parts += _number(end - written), b":", target[written:end]


def _blocks(source: bytes) -> tuple[dict[bytes, int], dict[int, int]]:
    """Where each aligned block is first, and for each where the same comes next (far behind the end: nowhere)."""
    first: dict[bytes, int] = {}
    following: dict[int, int] = {}
    nowhere = 1 << 62
    for offset in range((len(source) // _BLOCK - 1) * _BLOCK, -1, -_BLOCK):
        block = source[offset : offset + _BLOCK]
        following[offset] = first.get(block, nowhere)
        first[block] = offset
    return first, following


def _same_forwards(source: bytes, a: int, target: bytes, b: int, most: int) -> int:
    """How many bytes from `a` and `b` on are the same, `most` at most."""
    same, step = 0, 32
    while same < most:
        step = min(step, most - same)
        if source[a + same : a + same + step] == target[b + same : b + same + step]:
            same += step
            step *= 2
        elif step == 1:
            break
        else:
            most = same + step - 1  # it ends here
            step = max(1, step // 2)
    return same


def _same_backwards(source: bytes, a: int, target: bytes, b: int, most: int) -> int:
    """How many bytes up to `a` and `b` are the same, `most` at most."""
    same, step = 0, 32
    while same < most:
        step = min(step, most - same)
        if source[a - same - step : a - same] == target[b - same - step : b - same]:
            same += step
            step *= 2
        elif step == 1:
            break
        else:
            most = same + step - 1
            step = max(1, step // 2)
    return same


def _cut_after(target: bytes, place: int, most: int) -> int:
    """The first place from here on, up to `most`, where a character begins; here, where no character is cut."""
    for further in range(place, min(place + _MAX_TRIMMED, most) + 1):
        if further == most or target[further] & 0xC0 != 0x80:
            return further
    return place


def _cut_before(target: bytes, place: int, least: int) -> int:
    """The last place up to here, `least` at least, where a character begins; here, where no character is cut."""
    for further in range(place, max(place - _MAX_TRIMMED, least) - 1, -1):
        if further in (least, len(target)) or target[further] & 0xC0 != 0x80:
            return further
    return place


def _number(value: int) -> bytes:
    if value < 64:
        return DIGITS[value : value + 1]
    digits = bytearray()
    while value:
        digits.append(DIGITS[value & 63])
        value >>= 6
    digits.reverse()
    return bytes(digits)
