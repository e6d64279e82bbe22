"""HTTP requests counted by status and route, with labels no client can multiply."""

from typing import Any

import pytest
from django.test import AsyncClient, Client
from prometheus_client import REGISTRY

LATENCY = "django_http_requests_latency_seconds_by_view_method_count"
RESPONSES = "django_http_responses_total_by_status_view_method_total"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_response_is_counted_by_status_and_route(async_client: AsyncClient) -> None:
    """Once, in an asynchronous request as in a synchronous one."""
    labels = {"status": "200", "view": "realtime:demo", "method": "GET"}
    before = value(RESPONSES, **labels)
    assert (await async_client.get("/")).status_code == 200
    assert value(RESPONSES, **labels) == before + 1


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
