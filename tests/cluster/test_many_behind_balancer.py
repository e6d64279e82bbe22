"""5,000 clients of one address behind the shipped HAProxy, all at once, with everything as it is by default."""

import resource
from pathlib import Path

import pytest

from balancer import ADDRESS
from crowd import Crowd
from test_behind_balancer import SOURCE, balanced

pytestmark = pytest.mark.asyncio

CLIENTS = 5000


async def test_five_thousand_clients_are_served(tmp_path: Path) -> None:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 4 * CLIENTS:
        pytest.skip(f"no {4 * CLIENTS} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with balanced(tmp_path, RATE_LIMIT_TRUSTED_PROXIES=ADDRESS) as (_, balancer):
            crowd = Crowd(balancer.port, CLIENTS, SOURCE)
            try:
                await crowd.come()
                assert (crowd.connected, crowd.failed[:5]) == (CLIENTS, [])
            finally:
                crowd.leave()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
