"""Redis is away while the bazaar answers a request: the customer notices nothing, the loss is logged and counted.

Run by `make test-host`.
"""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.host.support.bazaar import ANN, Bazaar

TIMES = 12  # publications of the request: with a time-out for each it would take minutes
WITHIN = 20.0  # seconds for the request into a black hole, on a machine that may be busy
REQUEST = f"""
import json, time
from django.test import Client
from accounts.models import User
from live.models import receipts
from prometheus_client import REGISTRY, generate_latest

browser = Client(SERVER_NAME="127.0.0.1", raise_request_exception=False)
browser.force_login(User.objects.get(email="{ANN}"))
began = time.monotonic()
answer = browser.post("/live/buy/ORDER/{TIMES}/")
took = time.monotonic() - began
counted = [line for line in generate_latest(REGISTRY).decode().splitlines() if line.startswith("flotilla_publi")]
print(json.dumps([answer.status_code, answer.json(), receipts, took, counted]))
"""


@pytest.fixture
def refused() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address where connections are taken and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("away", ["refused", "black_hole"])
def test_a_request_is_answered_and_its_later_hooks_run(
    bazaar: Bazaar, away: str, request: pytest.FixtureRequest
) -> None:
    order = bazaar.order()
    project = bazaar.project.under(bazaar.project.settings, BAZAAR_REDIS=request.getfixturevalue(away))
    said = project.manage("shell", "--verbosity", "0", "-c", REQUEST.replace("ORDER", str(order)))
    *logged, last = said.strip().splitlines()
    status, body, receipts, took, counted = json.loads(last)
    assert (status, body) == (200, {"bought": order})
    assert receipts == [order]
    assert took < WITHIN
    assert any("publi" in line for line in logged), said
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counted if "lost" in line or "fail" in line) == TIMES, counted
