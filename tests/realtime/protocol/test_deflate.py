"""permessage-deflate: offers of every kind, messages that stand for themselves, bombs that stay small."""

import os
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import parse_extension

from flotilla.realtime.protocol.deflate import Broken, TooBig, agree, deflater, inflate, offers_among
from tests.growth import is_linear

PLAIN = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def raw(data: bytes, flush: int = zlib.Z_SYNC_FLUSH, window_bits: int = 15) -> bytes:
    """As a client compresses."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -window_bits)
    return stream.compress(data) + stream.flush(flush)


def in_pieces(data: bytes, window_bits: int) -> bytes:
    """As a client inflates that remembers no more than the window."""
    stream, found = zlib.decompressobj(-window_bits), b""
    while data:
        found += stream.decompress(data, 100)
        data = stream.unconsumed_tail
    return found


class TestOffers:
    @pytest.mark.parametrize(
        "offer",
        [
            b"permessage-deflate",
            b" permessage-deflate ",
            b"permessage-deflate;client_max_window_bits",
            b"permessage-deflate; client_max_window_bits=8",
            b'permessage-deflate; client_max_window_bits = "15"',
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            b"x-webkit-deflate-frame, permessage-deflate",
            b'other; a="b, permessage-deflate; x"; c=d, , permessage-deflate',
            b"permessage-deflate; unknown, permessage-deflate",
            b"permessage-deflate; server_max_window_bits=8, permessage-deflate",
        ],
    )
    def test_an_offer_that_can_be_kept_is_taken(self, offer: bytes) -> None:
        assert agree(offer) == (PLAIN, 15)

    @pytest.mark.parametrize("bits", range(9, 16))
    def test_the_window_that_a_client_wants_is_the_largest_that_is_used(self, bits: int) -> None:
        agreed = agree(b"permessage-deflate; server_max_window_bits=%d" % bits)
        assert agreed == (PLAIN + b"; server_max_window_bits=%d" % bits, bits)

    @pytest.mark.parametrize(
        "offer",
        [
            b"",
            b" , ,",
            b"Permessage-Deflate-Frame",
            b"permessage-deflate; unknown",
            b"permessage-deflate; server_max_window_bits",
            b"permessage-deflate; server_max_window_bits=8",
            b"permessage-deflate; server_max_window_bits=7",
            b"permessage-deflate; server_max_window_bits=16",
            b"permessage-deflate; server_max_window_bits=09",
            b"permessage-deflate; server_max_window_bits=+9",
            b"permessage-deflate; server_max_window_bits=1e1",
            b"permessage-deflate; server_max_window_bits=" + b"1" * 5000,
            "permessage-deflate; server_max_window_bits=１２".encode(),
            b"permessage-deflate; client_max_window_bits=16",
            b"permessage-deflate; client_max_window_bits=",
            b"permessage-deflate; server_no_context_takeover=1",
            b"permessage-deflate; client_no_context_takeover=true",
            b"permessage-deflate; client_max_window_bits; client_max_window_bits",
            b"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            b"permessage-deflate;",
            b"permessage-deflate=1",
            b"permessage-deflate, other;",
            b"permessage-deflate client_max_window_bits",
            b'permessage-deflate; client_max_window_bits="15',
            b'permessage-deflate; client_max_window_bits="15"x',
            b"permessage-deflate\x00",
            b"permessage-deflate; server_max_window_bits=10\n",
        ],
    )
    def test_any_other_is_passed_over(self, offer: bytes) -> None:
        assert agree(offer) is None

    @given(st.text('permsage-dflt;,="\\ \t1580_xkowin', max_size=200))
    def test_whatever_is_offered_the_answer_is_one_a_client_takes(self, offer: str) -> None:
        agreed = agree(offer.encode())
        assert agreed is None or parse_extension(agreed.answer.decode())[0][0] == "permessage-deflate"

    @given(st.one_of(st.none(), st.integers(8, 15)), st.one_of(st.none(), st.just(True), st.integers(9, 15)))
    def test_a_foreign_client_takes_what_was_agreed(self, server: int | None, client: "int | bool | None") -> None:
        factory = ClientPerMessageDeflateFactory(server_max_window_bits=server, client_max_window_bits=client)
        words = ["permessage-deflate"]
        words += [name if value is None else f"{name}={value}" for name, value in factory.get_request_params()]
        agreed = agree("; ".join(words).encode())
        if agreed is None:
            assert server == 8
            return
        try:
            factory.process_response_params(parse_extension(agreed.answer.decode())[0][1], [])
        except NegotiationError as error:
            pytest.fail(str(error))

    def test_several_headers_are_one_list(self) -> None:
        headers = [(b"sec-websocket-extensions", b"other"), (b"host", b"x"), (b"sec-websocket-extensions", PLAIN)]
        assert agree(offers_among(headers)) == (PLAIN, 15)

    @pytest.mark.parametrize(
        ("before", "part"), [(b"", b"a;"), (b"", b"a,"), (b'a;b="', b"\\"), (b"", b","), (b"", b"\t"), (b"", b"a=b;")]
    )
    def test_a_head_full_of_offers_costs_its_length(self, before: bytes, part: bytes) -> None:
        assert is_linear(lambda times: agree(before + part * (4000 * times)))


class TestMessages:
    @given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=5), st.integers(9, 15))
    def test_every_message_can_be_read_without_the_others(self, messages: list[bytes], bits: int) -> None:
        for message in (*messages, *messages):
            stream = zlib.decompressobj(-bits)
            assert stream.decompress(deflater(bits).deflate(message) + b"\x00\x00\xff\xff") == message

    def test_what_was_sent_to_others_is_not_referred_to(self) -> None:
        """Neither for them who lack it, nor so that a size tells what somebody else was sent."""
        secret = os.urandom(200).hex().encode()
        alone = deflater(15).deflate(secret)
        assert deflater(15).deflate(secret) == alone

    def test_a_long_message_is_compressed_within_the_window(self) -> None:
        message = (os.urandom(3000) * 2).hex().encode()
        assert in_pieces(deflater(9).deflate(message), 9) == message
        with pytest.raises(zlib.error):
            in_pieces(deflater(15).deflate(message), 9)

    @given(st.binary(max_size=5000))
    def test_what_a_client_compressed_comes_out(self, message: bytes) -> None:
        assert inflate(raw(message)[:-4], 5000) == message
        assert inflate(raw(message, zlib.Z_FINISH) + b"\x00", 5000) == message  # RFC 7692, 7.2.3.4
        assert inflate(raw(message, zlib.Z_FINISH), 5000) == message

    def test_the_examples_of_the_specification(self) -> None:
        for example in (
            "f248cdc9c90700",
            "f348cdc9c9070000",
            "000500faff48656c6c6f00",
            "f248050000 00ffffcac9c90700",
        ):
            assert inflate(bytes.fromhex(example), 5) == b"Hello"

    def test_nothing_compressed_is_nothing(self) -> None:
        assert inflate(b"", 10) == b""
        assert inflate(b"\x00", 10) == b""
        assert inflate(raw(b"")[:-4], 0) == b""

    @pytest.mark.parametrize("size", [99, 100])
    def test_the_bound_itself_is_allowed(self, size: int) -> None:
        assert inflate(raw(b"x" * size)[:-4], 100) == b"x" * size
        halves = raw(b"x" * 50, zlib.Z_FINISH) + raw(b"x" * (size - 50))[:-4]
        assert inflate(halves, 100) == b"x" * size

    def test_more_than_the_bound_is_not(self) -> None:
        with pytest.raises(TooBig):
            inflate(raw(b"x" * 101)[:-4], 100)
        with pytest.raises(TooBig):
            inflate(raw(b"x" * 50, zlib.Z_FINISH) + raw(b"x" * 51)[:-4], 100)

    def test_a_bomb_is_seen_before_it_is_in_memory(self) -> None:
        bomb = raw(b"\x00" * (64 << 20))[:-4]
        assert len(bomb) < 100_000
        tracemalloc.start()
        try:
            with pytest.raises(TooBig):
                inflate(bomb, 65536)
            assert tracemalloc.get_traced_memory()[1] < 2 * 65536 + 3 * len(bomb)
        finally:
            tracemalloc.stop()

    def test_blocks_that_are_each_the_last_are_refused(self) -> None:
        """Each would have to be begun anew."""
        with pytest.raises(Broken):
            inflate(b"\x03\x00" * 32768, 65536)

    def test_empty_blocks_cost_their_length(self) -> None:
        def blocks(times: int) -> None:
            assert inflate(b"\x00\x00\x00\xff\xff" * (3000 * times), 65536) == b""

        assert is_linear(blocks)

    @pytest.mark.parametrize(
        "message", [b"\xff" * 10, b"\x07", b"not compressed at all", raw(b"abc" * 99)[:5] + b"\xff" * 9]
    )
    def test_what_is_not_compressed_is_refused(self, message: bytes) -> None:
        with pytest.raises(Broken):
            inflate(message, 65536)

    @given(st.binary(max_size=300), st.integers(0, 1000))
    def test_whatever_comes_stays_within_the_bound(self, message: bytes, most: int) -> None:
        try:
            assert len(inflate(message, most)) <= most
        except (Broken, TooBig):
            pass
