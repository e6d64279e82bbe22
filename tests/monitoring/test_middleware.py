"""HTTP requests counted by status and route, with labels no client can multiply."""

import threading
from typing import Any

import pytest
from django.test import AsyncClient, Client
from prometheus_client import REGISTRY

from flotilla.monitoring.middleware import CountAfter, CountBefore

LATENCY = "django_http_requests_latency_seconds_by_view_method_count"
RESPONSES = "django_http_responses_total_by_status_view_method_total"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_response_is_counted_by_status_and_route(async_client: AsyncClient) -> None:
    """Once, in an asynchronous request as in a synchronous one."""
    labels = {"status": "200", "view": "demo:page", "method": "GET"}
    before = value(RESPONSES, **labels)
    assert (await async_client.get("/")).status_code == 200
    assert value(RESPONSES, **labels) == before + 1


async def test_counting_takes_no_other_thread(async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock middleware hops into one before and after every request."""
    threads: set[int] = set()
    for middleware in (CountBefore, CountAfter):
        for name in ("process_request", "process_response"):
            stock = getattr(middleware, name)

            def counted(self: Any, *arguments: Any, stock: Any = stock) -> Any:
                threads.add(threading.get_ident())
                return stock(self, *arguments)

            monkeypatch.setattr(middleware, name, counted)
    async_client.handler.load_middleware(is_async=True)
    assert (await async_client.get("/")).status_code == 200
    assert threads == {threading.get_ident()}


def test_paths_and_methods_a_client_made_up_share_labels(client: Client) -> None:
    """However many it tries."""
    before = value(LATENCY, view="<unnamed view>", method="<invalid method>")
    for number in range(3):
        client.generic(f"MADEUP{number}", f"/nowhere/{number}")
    assert value(LATENCY, view="<unnamed view>", method="<invalid method>") == before + 3
    names = {label for family in REGISTRY.collect() for sample in family.samples for label in sample.labels.values()}
    assert not any("MADEUP" in name or "nowhere" in name for name in names)


@pytest.mark.parametrize("length", ["x", "-1", "٣", "1 2"])
def test_a_content_length_that_is_no_number_harms_nobody(client: Client, length: str, settings: Any) -> None:
    """It is no reason for a 500."""
    assert client.get("/", CONTENT_LENGTH=length).status_code == 200
