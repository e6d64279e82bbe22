"""The table and the picture of docs/SCALE_OUT.md: the same load from ten thousand connections to ten million.

python -m tests.bench.costs.picture          prints the table, and draws where matplotlib is installed
"""

from pathlib import Path

from flotilla.ops.plan.costs import read
from flotilla.ops.plan.deaths import instance_dies
from flotilla.ops.plan.load import Load
from flotilla.ops.plan.report import bits, number, size
from flotilla.ops.plan.sizing import Limits, Plan, plan
from tests.bench import chart
from tests.cluster.support.processes import ROOT

CONNECTIONS = (10_000, 100_000, 1_000_000, 3_000_000, 10_000_000)
MILLION = 1_000_000
MEMBERS = 10
ROOM_RATE = 0.05  # publications a second
PICTURE = ROOT / "docs" / "images" / "plan.svg"


def planned(connections: int) -> Plan:
    """Rooms of ten, in each a publication every twenty seconds."""
    load = Load.of(users=connections, rooms=connections // MEMBERS, room_rate=ROOM_RATE)
    return plan(load, read(), Limits())


def table() -> str:
    """As Markdown."""
    lines = [
        "| connections | publications/s; deliveries/s | instances | each: cores, memory | Redises "
        "| each: cores, memory, out | full first | an instance dies: back within |",
        "|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for connections in CONNECTIONS:
        made = planned(connections)
        used, death = made.usage, instance_dies(made)
        cells = (
            f"{connections:,}",
            f"{number(made.load.rate)}; {number(made.load.deliveries)}",
            f"{used.instances:,}",
            f"{used.instance:.2f}, {size(used.instance_bytes)}",
            f"{used.nodes:,}",
            f"{used.redis:.2f}, {size(used.redis_bytes)}, {bits(used.redis_out)}",
            made.first.name,
            f"{death.back_after:,.0f} s" if death.back_after else "its replacement",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def hot() -> str:
    """One room of a million, published to from outside, at rates from rare to flooding."""
    lines = [
        "| publications/s | deliveries/s | instances | each: cores, to clients | Redis: cores, out | cores in all |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for rate in (0.1, 1.0, 10.0, 100.0):
        load = Load.of(users=MILLION, rooms=1, rate=rate, from_clients=0.0, presence=False)
        lines.append(_row(plan(load, read(), Limits(network_bits=25e9)), f"{rate:g}", number(load.deliveries)))
    return "\n".join(lines)


def many() -> str:
    """A million rooms, with and without history, quiet and not."""
    lines = [
        "| members; publications/s | | instances | each: cores, memory | Redises | each: cores, memory | commands/s |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for members in (1, 10):
        for rate in (1_000.0, 10_000.0):
            for history, about in ((1.0, "history"), (0.0, "no history")):
                load = Load.of(users=MILLION, rooms=MILLION, members=members, rate=rate, history=history)
                used = plan(load, read(), Limits()).usage
                cells = (
                    f"{members}; {rate:,.0f}",
                    about,
                    f"{used.instances:,}",
                    f"{used.instance:.2f}, {size(used.instance_bytes)}",
                    f"{used.nodes:,}",
                    f"{used.redis:.2f}, {size(used.redis_bytes)}",
                    f"{used.redis_commands * used.nodes:,.0f}",
                )
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _row(made: Plan, *first: str) -> str:
    used = made.usage
    fits = "" if made.fits else f" (does not fit: {made.first.name})"
    cells = (
        *first,
        f"{used.instances:,}{fits}",
        f"{used.instance:.2f}, {bits(used.clients_out)}",
        f"{used.redis:.2f}, {bits(used.redis_out)}",
        f"{made.cores:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def draw(path: Path) -> None:
    """Cores that are busy, of what, by connections."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "plan", "font.size": 9, "font.family": "sans-serif"}
    )
    counts = [round(10 ** (4 + step / 8)) for step in range(25)]
    plans = [planned(count) for count in counts]
    figure, panel = pyplot.subplots(figsize=(7.5, 3.6), layout="constrained")
    for name, values, colour in (
        ("instances", [made.usage.instances for made in plans], chart.OURS),
        ("cores that instances keep busy", [made.usage.instance * made.usage.instances for made in plans], chart.FLOOR),
        ("Redises", [made.usage.nodes for made in plans], "#b5532a"),
        ("cores that Redises keep busy", [made.usage.redis * made.usage.nodes for made in plans], chart.OTHERS),
    ):
        panel.plot(counts, values, label=name, color=colour)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("connections")
    panel.legend(frameon=False)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)


def main() -> None:
    """Print, and draw."""
    for one in (table, hot, many):
        print(f"{one()}\n")
    if reason := chart.missing():
        print(f"no picture: {reason}")
        return
    draw(PICTURE)
    print(f"written: {PICTURE}")


if __name__ == "__main__":
    main()
