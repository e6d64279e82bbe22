"""`manage.py reshard` where REDIS_URL, or a list that is given, is a Redis Cluster: says what to do in its place."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.parametrize(
    ("url", "words", "named"),
    [
        ("redis+cluster://localhost:7000", (), "REDIS_URL"),
        ("redis+cluster://localhost:7000", ("--to", "redis://one", "--prepare"), "REDIS_URL"),
        ("redis://one", ("--to", "redis+cluster://localhost:7000", "--prepare"), "--to"),
        ("redis://one", ("--from", "redis+cluster://localhost:7000", "--to", "redis://one", "--abort"), "--from"),
    ],
)
def test_a_cluster_is_no_list(url: str, words: tuple[str, ...], named: str, settings: Any) -> None:
    settings.REDIS_URLS = [url]
    with pytest.raises(CommandError, match=rf"^{named}: .*`redis-cli --cluster reshard`.*#more-or-fewer-redises"):
        call_command("reshard", *words)
