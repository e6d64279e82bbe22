"""5,000 clients of one address behind the shipped HAProxy, all else as it is by default: everybody is served."""

import resource
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.support.balancer import ADDRESS
from tests.cluster.support.crowd import Crowd
from tests.cluster.test_behind_balancer import SOURCE, balanced

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(360)]

CLIENTS = 5000


async def test_five_thousand_clients_are_served(tmp_path: Path) -> None:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 4 * CLIENTS:
        pytest.skip(f"no {4 * CLIENTS} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with balanced(tmp_path, RATE_LIMIT_TRUSTED_PROXIES=ADDRESS) as (_, balancer):
            crowd = Crowd(balancer.port, CLIENTS, SOURCE, at_once=200)
            try:
                await crowd.come()
                print(Counter(crowd.again).most_common(3))
                assert crowd.connected == CLIENTS
            finally:
                crowd.leave()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
