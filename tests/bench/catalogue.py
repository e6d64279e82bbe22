"""All servers and all jobs by name, and which of them a run wants."""

from tests.bench.jobs import (
    api,
    connections,
    fanout,
    live,
    nodes,
    outbox,
    pages,
    presence,
    publishing,
    slow,
    subscriptions,
)
from tests.bench.jobs.base import Job
from tests.bench.servers import clients, floor, flotilla, golang, nchan, node, relays, stock
from tests.bench.servers import nodes as several
from tests.bench.servers.base import Server

SERVERS: dict[str, type[Server]] = {
    kind.name: kind
    for kind in (
        flotilla.Flotilla,
        flotilla.FlotillaUnjoined,
        flotilla.FlotillaPure,
        flotilla.FlotillaTwo,
        flotilla.FlotillaFour,
        flotilla.FlotillaTls,
        flotilla.FlotillaPages,
        clients.FlotillaProtobuf,
        clients.FlotillaStream,
        clients.FlotillaSse,
        floor.CFloor,
        floor.CFloorJoined,
        floor.CFloorDelayed,
        node.SocketIO,
        node.SocketIOTwo,
        node.SocketIOFour,
        node.SocketIOTls,
        node.BareWs,
        nchan.Nchan,
        golang.Centrifuge,
        golang.CentrifugeTwo,
        golang.CentrifugeFour,
        golang.CentrifugeTls,
        golang.Nats,
        stock.StockCore,
        stock.StockPubSub,
        stock.StockCoreUvicorn,
        stock.StockPubSubUvicorn,
        relays.OutboxRelay,
        relays.PolledTable,
        relays.PolledTableNotified,
        relays.SaveOnPostgresql,
        relays.SaveOnSqlite,
        *several.SHARDED,
        *several.CLUSTERED,
    )
}
JOBS: dict[str, Job] = {
    job.name: job
    for part in (fanout, publishing, connections, subscriptions, presence, api, pages, slow, outbox, live, nodes)
    for job in part.JOBS
}


def wanted_jobs(only: list[str]) -> list[Job]:
    """The jobs whose names begin with one of `only`; all when it is empty. Raises ValueError for what is none."""
    for word in only:
        if not any(name.startswith(word) for name in JOBS):
            raise ValueError(f"no job is called {word}: there are {', '.join(JOBS)}")
    return [job for name, job in JOBS.items() if not only or name.startswith(tuple(only))]


def wanted_servers(job: Job, only: list[str]) -> list[type[Server]]:
    """The servers of a job, in its order, or those of `only`. Raises ValueError for a name that is none."""
    for word in only:
        if word not in SERVERS:
            raise ValueError(f"no server is called {word}: there are {', '.join(SERVERS)}")
    return [SERVERS[name] for name in job.servers if not only or name in only]
