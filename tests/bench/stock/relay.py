"""Publishes from outside: lines that arrive at a port become `group_send` to room 0, in a process of its own.

python -m tests.bench.stock.relay PORT
"""

import asyncio
import sys

import django
from channels.layers import get_channel_layer


async def take(reader, writer):
    """One connection's lines."""
    layer = get_channel_layer()
    async for line in reader:
        await layer.group_send("chat_0", {"type": "chat.message", "message": line.decode().rstrip("\n")})
    writer.close()


async def main():
    """Listen until killed."""
    server = await asyncio.start_server(take, "127.0.0.1", int(sys.argv[1]), limit=2**20)
    await server.serve_forever()


if __name__ == "__main__":
    django.setup()
    asyncio.run(main())
