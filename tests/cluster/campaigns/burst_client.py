"""One process of a hard burst: asks as fast as it is answered, for some seconds, and prints what it was answered.

It connects, says that it is ready, and begins when a line comes on its standard input, so that all begin together.

python -m tests.cluster.campaigns.burst_client http URL SECONDS
python -m tests.cluster.campaigns.burst_client ws URL SECONDS CHANNEL TOKEN
"""

import asyncio
import json
import sys
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

IN_FLIGHT = 4  # publications of one connection


def http(url: str, seconds: float) -> Counter[str]:
    """GET after GET over one connection."""
    answers: Counter[str] = Counter()
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=10)
    connection.connect()
    wait_for_the_others()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            connection.request("GET", parts.path)
            response = connection.getresponse()
            response.read()
            answers[str(response.status)] += 1
        except (OSError, HTTPException):
            answers["broken"] += 1
            connection.close()
        answers["longest_ms"] = max(answers["longest_ms"], int((time.monotonic() - began) * 1000))
    return answers


async def websocket(url: str, seconds: float, channel: str, token: str) -> Counter[str]:
    """Publication after publication, some under way at any time."""
    answers: Counter[str] = Counter()
    async with connect(url, compression=None, proxy=None, max_size=None) as socket:
        await socket.send(json.dumps({"id": 1, "connect": {"token": token}}))
        await socket.recv()
        await asyncio.to_thread(wait_for_the_others)
        until, sent, waiting = time.monotonic() + seconds, 1, 0

        async def publish() -> None:
            nonlocal sent, waiting
            sent, waiting = sent + 1, waiting + 1
            await socket.send(json.dumps({"id": sent, "publish": {"channel": channel, "data": sent}}))

        for _ in range(IN_FLIGHT):
            await publish()
        while waiting:
            for line in str(await socket.recv()).split("\n"):
                message = json.loads(line)
                if "id" not in message:
                    continue
                waiting -= 1
                answers[str(message["error"]["code"]) if "error" in message else "200"] += 1
                if time.monotonic() < until:
                    await publish()
    return answers


def wait_for_the_others() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    kind, url, seconds, *rest = sys.argv[1:]
    answers = http(url, float(seconds)) if kind == "http" else asyncio.run(websocket(url, float(seconds), *rest))
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
