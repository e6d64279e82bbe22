"""Mistakes that a type checker finds in a project's calls of the platform, each marked; the other lines are right."""

from typing import reveal_type

from flotilla import apublish, broadcast, publish

from store.models import Order


def right(order: Order) -> None:
    publish(f"orders:#{order.owner_id}", {"order": order.pk}, tags={"kind": "order"})
    broadcast(["news", "offers"], {"text": "hello"}, on_commit=False)


def mistakes(order: Order) -> None:
    publish(order.pk, {})  # wrong: a channel is a string
    publish("news", {}, on_commit="later")  # wrong: yes or no
    publish("news", {}, tag={})  # wrong: there is no such keyword
    offset: int = publish("news", {}).offset  # wrong: None while a transaction is open
    broadcast(5, {})  # wrong: several channels
    print(offset)


async def more() -> str:
    reveal_type(publish("news", {}))
    return await apublish("news", {})  # wrong: a position is no string
