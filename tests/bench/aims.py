"""What the bench is asked: Flotilla's figures beside those they are measured by, each with the ratio it aims at."""

from dataclasses import dataclass

from tests.bench.report import Results, shown


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure of Flotilla against another server's, of the same job. `at_least` and `at_most` are ratios; a bound
    without `other` is on the figure itself. Neither: the ratio is only stated."""

    what: str
    job: str
    figure: str
    other: str = ""
    ours: str = "flotilla"
    other_figure: str = ""
    at_least: float | None = None
    at_most: float | None = None


def _fan_out(clients: int) -> list[Aim]:
    job, who = f"fanout-{clients}", f"fan-out to {clients:,}"
    return [
        Aim(f"{who}, under backlog", job, "flood", "cfloor", at_least=1.0),
        Aim(f"{who}, under backlog", job, "flood", "cfloor-joined"),
        Aim(f"{who}, one send per publication", job, "per_second", "cfloor", "flotilla-unjoined", at_least=0.75),
        Aim(f"{who}, best rate", job, "per_second", "cfloor"),
        Aim(f"{who}, best rate", job, "per_second", "socketio", at_least=1.5),
        Aim(f"{who}, best rate", job, "per_second", "ws"),
        Aim(f"{who}, best rate", job, "per_second", "nchan"),
        Aim(f"{who}, best rate", job, "per_second", "stock-core", at_least=50),
        Aim(f"{who}, best rate", job, "per_second", "stock-pubsub", at_least=50),
        Aim(f"{who}, best rate", job, "per_second", "stock-pubsub-uvicorn"),
    ]


def _peer(what: str, job: str, figure: str, ratio: float, *, more_is_better: bool = True) -> Aim:
    """The peer on the centrifuge library against Socket.IO: at most 15 % worse than Centrifugo 6.9 is, by `ratio`."""
    name = f"the peer beside Socket.IO: {what}"
    if more_is_better:
        return Aim(name, job, figure, "socketio", "centrifuge", at_least=round(ratio * 0.85, 2))
    return Aim(name, job, figure, "socketio", "centrifuge", at_most=round(ratio * 1.15, 2))


AIMS = [
    *_fan_out(500),
    *_fan_out(2000),
    Aim("light load, p50 in ms", "light", "p50_ms", "socketio", at_most=1.0),
    Aim("light load, p99 in ms", "light", "p99_ms", "socketio", at_most=1.0),
    Aim("memory of an idle connection, KB", "memory", "kb_each", at_most=4.0),
    Aim("the same, the second half of them", "memory", "kb_late", at_most=4.0),
    Aim("memory of an idle connection, KB", "memory", "kb_each", "socketio"),
    Aim("connects/s, 40 at once", "storm-2000", "per_second", "centrifuge", at_least=1.0),
    Aim("connects/s, 40 at once", "storm-2000", "per_second", "socketio", at_least=1.5),
    Aim("CPU of a connect with one subscription, µs", "storm-2000", "us_each", at_most=200),
    Aim("connects/s, 100 at once", "storm-10000", "per_second", "centrifuge", at_least=1.0),
    Aim("connects/s, 100 at once", "storm-10000", "per_second", "socketio", at_least=1.5),
    Aim("client publications/s", "publish", "per_second", "centrifuge", at_least=1.0),
    Aim("client publications/s, without history there", "publish", "per_second", "socketio", at_least=0.8),
    Aim("Redis for a publication with history, µs", "publish", "redis_us_each", at_most=23),
    Aim("client publications/s", "publish", "per_second", "stock-core", at_least=10.0),
    Aim("client publications/s", "publish", "per_second", "stock-pubsub", at_least=10.0),
    Aim("many small rooms, deliveries/s", "rooms", "per_second", "centrifuge", at_least=1.3),
    Aim("many small rooms, deliveries/s", "rooms", "per_second", "socketio", at_least=1.3),
    Aim("many small rooms, deliveries/s", "rooms", "per_second", "nchan", at_least=1.3),
    Aim("recovery storm, back a second", "recovery", "per_second", "centrifuge", at_least=1.0),
    Aim("churn, subscribed and left a second", "churn", "per_second", "centrifuge", at_least=1.0),
    Aim("pure Python: publications/s", "publish", "per_second", "centrifuge", "flotilla-pure", at_least=0.7),
    Aim("pure Python: connects/s", "storm-2000", "per_second", "centrifuge", "flotilla-pure", at_least=0.7),
    Aim("publications/s by HTTP API", "api-publish", "per_second", "centrifuge"),
    Aim("publications/s by HTTP API, in batches", "api-batch", "per_second", "centrifuge"),
    Aim("CPU of an announcement, µs", "joins", "us_each", "centrifuge"),
    Aim("over TLS: fan-out to 500, best rate", "tls", "per_second", "centrifuge-tls", "flotilla-tls"),
    Aim("over TLS: connects/s", "tls-storm-1000", "per_second", "centrifuge-tls", "flotilla-tls"),
    Aim("pages of Django beside sockets, pages/s", "pages", "per_second", "stock-pubsub", "flotilla-pages"),
    Aim("two processes against one", "processes", "per_second", "flotilla", "flotilla-2", at_least=1.8),
    Aim("CPU of a delivery, two processes against one", "processes", "us_each", "flotilla", "flotilla-2"),
    Aim("CPU of a delivery, four processes against one", "processes-4", "us_each", "flotilla", "flotilla-4"),
    Aim("CPU of a publication, two processes against one", "publish-processes", "us_each", "flotilla", "flotilla-2"),
    Aim("CPU of a publication, four processes against one", "publish-processes", "us_each", "flotilla", "flotilla-4"),
    _peer("fan-out to 500, best rate", "fanout-500", "per_second", 828 / 132),
    _peer("light load, p50", "light", "p50_ms", 5.2 / 4.5, more_is_better=False),
    _peer("memory of a connection", "memory", "kb_each", 47.9 / 10.2, more_is_better=False),
    _peer("many small rooms", "rooms", "per_second", 59.5 / 57.9),
    _peer("client publications/s", "publish", "per_second", 23.9 / 32.0),
    _peer("connects/s, 40 at once", "storm-2000", "per_second", 5.2 / 3.3),
    Aim("slow readers: p99 of the others", "slow", "p99_ratio", at_most=1.2),
    Aim("slow readers: dropped with 3008, of 10", "slow", "dropped_3008", at_least=10),
    Aim("slow readers: memory kept, MB", "slow", "kept_mb", at_most=2.0),
    Aim("slow readers: memory grown, MB", "slow", "grown_mb", "stock-pubsub"),
]


def judged(results: Results) -> str:
    """The aims that this run has figures for, as a Markdown table; empty when there are none."""
    lines = []
    for aim in AIMS:
        medians = results.medians(aim.job)
        ours = medians.get(aim.ours, {}).get(aim.figure)
        theirs = medians.get(aim.other, {}).get(aim.other_figure or aim.figure) if aim.other else 1.0
        if ours is None or theirs is None:
            continue
        beside = f"{aim.other} {shown(theirs)}" if aim.other else ""
        ratio = ours / theirs if theirs else None
        said = f"{ratio:.2f}×" if aim.other and ratio is not None else ""
        lines.append(
            f"| {aim.what} | {aim.ours} {shown(ours)} | {beside} | {said} | {_aim(aim)} | {_met(aim, ratio)} |"
        )
    if not lines:
        return ""
    return "\n".join(("| | measured | beside | ratio | aim | |", "|---|---:|---:|---:|---:|---|", *lines))


def _aim(aim: Aim) -> str:
    sign = "×" if aim.other else ""
    if aim.at_least is not None:
        return f"≥ {aim.at_least:g}{sign}"
    return f"≤ {aim.at_most:g}{sign}" if aim.at_most is not None else ""


def _met(aim: Aim, ratio: float | None) -> str:
    if ratio is None or (aim.at_least is None and aim.at_most is None):
        return ""
    met = ratio >= aim.at_least if aim.at_least is not None else ratio <= (aim.at_most or 0)
    return "met" if met else "missed"
