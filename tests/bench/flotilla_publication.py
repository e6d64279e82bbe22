"""Prints, as hex, the bytes that publish a message into a channel when sent to Redis: the product's own script call.

    python -m tests.bench.flotilla_publication CHANNEL < MESSAGE

Run with the environment of the instances; loads the script into Redis.
"""

import sys

import django


def main() -> None:
    """Build the call, load its script, print."""
    django.setup()
    from flotilla.realtime.api.publishing import body_of, options_of
    from flotilla.realtime.engine import calls
    from flotilla.store import get_store
    from tests.bench.servers.base import resp

    channel, message = sys.argv[1], sys.stdin.buffer.read()
    call = calls.publish(channel, body_of(message, None), options_of(channel))
    get_store().shard_for(call.placement).execute_sync("SCRIPT", "LOAD", call.script.text)
    print(resp("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args).hex())


if __name__ == "__main__":
    main()
