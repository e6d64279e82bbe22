"""Commands that reach a node: carried out by their operation and answered; whatever else comes harms nobody."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from flotilla.realtime.node.dispatcher import Dispatcher
from flotilla.realtime.node.operations.channels import Channels

OWN = "unit-0.1"


class FakeNode:
    """A node with a channel, its answers, and what it was asked to do."""

    def __init__(self) -> None:
        self.presence = SimpleNamespace(incarnation=OWN)
        self.hub = SimpleNamespace(channels={"room:7": SimpleNamespace(subscriptions=[1, 2])})
        self.control = self
        self.begun: list[str] = []
        self.answers: list[tuple[str, str, Any]] = []

    def background(self, work: Any, name: str) -> None:
        self.begun.append(name)
        asyncio.run(work)

    async def answer(self, command: Any, incarnation: str, answer: Any) -> None:
        self.answers.append((command.answer_to, incarnation, answer))


@pytest.fixture
def node() -> Any:
    """A node without a cluster."""
    return FakeNode()


def test_a_command_is_carried_out_and_answered(node: Any) -> None:
    """Where an answer is wanted."""
    Dispatcher(node).receive(msgspec.json.encode(Channels(answer_to="key")))
    Dispatcher(node).receive(msgspec.json.encode(Channels()))
    assert node.begun == ["channels", "channels"]
    assert node.answers == [("key", OWN, {"room:7": 2})]


def test_another_instance_s_command_is_passed_over(node: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it asks; it is nothing to log."""
    Dispatcher(node).receive(msgspec.json.encode(Channels(instance="unit-1.1")))
    Dispatcher(node).receive(b'{"op":"sing","instance":"unit-1.1"}')
    assert node.begun == [] and caplog.records == []
    Dispatcher(node).receive(msgspec.json.encode(Channels(instance=OWN)))
    assert node.begun == ["channels"]


def test_an_unknown_operation_is_logged_and_passed_over(node: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A later release may know it."""
    with caplog.at_level(logging.WARNING):
        Dispatcher(node).receive(b'{"op":"sing","user":"7"}')
    assert node.begun == []
    assert [record.message for record in caplog.records] == ["unknown control command 'sing'"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"op":"\xff"}',
        b'{"op":7}',
        b'{"op":"subscribe"}',
        b'{"op":"disconnect","user":7}',
        b'{"op":"disconnect","user":"\xff"}',
        b'{"op":"message","data":"no base64!"}',
        b'{"op":"channels","x":' + b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_logged(node: Any, caplog: pytest.LogCaptureFixture, payload: bytes) -> None:
    """And never raised: the hub goes on."""
    with caplog.at_level(logging.WARNING):
        Dispatcher(node).receive(payload)
    assert node.begun == []
    assert len(caplog.records) == 1 and "could not be read" in caplog.records[0].message
