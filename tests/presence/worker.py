"""A process with connections, to be killed and stopped: enters 50, closes them when fenced, and enters 50 others."""

import asyncio
import sys

import django

ROOM = "c:room"


async def main(url: str) -> None:
    from tests.presence.cluster import Instance

    fenced = asyncio.Event()

    class Worker(Instance):
        async def _note_fenced(self) -> None:
            fenced.set()

    async def enter(first: int) -> None:
        names = [f"w{number}" for number in range(first, first + 50)]
        await asyncio.gather(*(worker.add(ROOM, name, name, name.encode()) for name in names))

    worker = Worker([url], "worker")
    await worker.start()
    await enter(0)
    print("entered", flush=True)
    await fenced.wait()
    print("fenced", flush=True)
    await asyncio.gather(*(worker.remove(ROOM, f"w{number}") for number in range(50)))
    while not worker.alive:
        await asyncio.sleep(0.01)
    await enter(50)
    print("entered again", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(sys.argv[1]))
