"""Each job of the bench in short on the real thing, and a dearer revision, which must be found."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from flotilla.ops.plan.costs import read
from tests.bench import native, revision
from tests.bench.catalogue import JOBS
from tests.bench.compare import Pairs, comparisons, instances, measure, table
from tests.bench.costs import validation
from tests.bench.costs.experiments import EXPERIMENTS, SMALL
from tests.bench.jobs import subscriptions
from tests.bench.jobs.base import Plan, Stage, served, staged, staged_on
from tests.bench.load import Figures, LoadError, payload
from tests.bench.machine import Cores
from tests.bench.probes import PROBES
from tests.bench.servers import certificate
from tests.bench.servers.base import Server, Shape
from tests.bench.servers.clients import FlotillaProtobuf, FlotillaSse, FlotillaStream
from tests.bench.servers.flotilla import NAMESPACES, Flotilla, FlotillaPages, FlotillaTls
from tests.bench.servers.nodes import SHARDED
from tests.bench.servers.relays import OutboxRelay, PolledTableNotified, SaveOnPostgresql
from tests.cluster.support.processes import ROOT

pytestmark = pytest.mark.timeout(600)

PLAN = Plan(quick=True, say=print)
BURNS = """
import threading

def _burn() -> None:
    while True:
        sum(range(1000))

threading.Thread(target=_burn, daemon=True).start()
"""


class Forgetful(FlotillaPages):
    """Serves pages too, and has a namespace that keeps less than the clients of a recovery storm miss."""

    options: ClassVar[dict[str, Any]] = {
        "namespaces": {**NAMESPACES, "brief": {**NAMESPACES["bench"], "history_size": subscriptions.MISSED - 1}}
    }


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One instance for all of these."""
    if reason := native.missing() or Flotilla.missing():
        pytest.skip(reason)
    with served(Forgetful, Shape(), Cores()) as one:
        yield one


@contextmanager
def stage(server: Server, shape: Shape) -> Iterator[Stage]:
    """A load client; whoever it connected is gone before the next one comes."""
    server.shape = shape
    with staged_on(server, PLAN) as one:
        yield one
        one.load.tell("disconnect")
        one.meter.wait_quiet()


@pytest.mark.parametrize("name", ["churn", "recovery", "presence", "joins", "api-publish", "api-batch", "pages"])
def test_a_job_measures(name: str, server: Server) -> None:
    """The jobs themselves raise when anything was lost, refused or wrong."""
    job = JOBS[name]
    with stage(server, job.shape(PLAN)) as one:
        figures = job.measure(one)
    assert set(job.columns) <= set(figures)
    assert figures[job.headline] > 0
    assert not any(figures.get(fault) for fault in ("lost", "errors"))


def test_publications_on_two_redises_are_measured_part_by_part() -> None:
    kind, job = SHARDED[1], JOBS["nodes"]
    if reason := native.missing() or kind.missing():
        pytest.skip(reason)
    with staged(kind, job, PLAN) as stage:
        figures = job.measure(stage)
    assert set(job.columns) <= set(figures)
    assert figures["redis_us_each"] > figures["busiest_us"] > 0
    assert figures["redis_ceiling"] == pytest.approx(1e6 / figures["busiest_us"])


def test_an_experiment_and_a_whole_run_weigh_instance_and_redis() -> None:
    if reason := native.missing() or Flotilla.missing():
        pytest.skip(reason)
    found = EXPERIMENTS["rare"](PLAN)["taken, rare"]
    assert found.instance_cpu > found.redis_cpu > 0
    assert found.redis_in > SMALL
    measured = validation.run(validation.SIZES[0], PLAN)
    assert measured["lost"] == 0
    assert measured.keys() >= validation.predicted(validation.SIZES[0], read()).keys()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("outbox", OutboxRelay), ("outbox", PolledTableNotified), ("live-save", SaveOnPostgresql)],
)
def test_a_job_about_rows_measures(name: str, kind: type[OutboxRelay]) -> None:
    if reason := native.missing() or kind.missing():
        pytest.skip(reason)
    job = JOBS[name]
    with staged(kind, job, PLAN) as one:
        figures = job.measure(one)
    assert set(job.columns) <= set(figures)
    assert not figures.get("lost")


def test_who_cannot_recover_everything_is_an_error(server: Server) -> None:
    with stage(server, Shape(**_as_words(subscriptions.those_who_return(PLAN)), namespace="brief")) as one:
        one.ensure(one.server.shape.rooms * one.server.shape.members)
        subscriptions.go_and_miss(one)
        with pytest.raises(LoadError, match="0 of 200 came back: joining was refused"):
            subscriptions.come_back(one)


def test_a_churn_that_is_refused_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(server, subscriptions.rooms_of_fifty(PLAN)) as one:
        one.ensure(10)
        join, leave = one.server.churn or ("", "")
        elsewhere = property(lambda _: (join.replace("bench:", "nowhere:"), leave.replace("bench:", "nowhere:")))
        monkeypatch.setattr(Forgetful, "churn", elsewhere)
        with pytest.raises(AssertionError, match="not every visit was answered"):
            subscriptions.visits(one, 5, cycles=20)


@pytest.mark.parametrize("kind", [FlotillaProtobuf, FlotillaStream, FlotillaSse])
def test_clients_of_every_kind_count_and_are_refused(kind: type[Flotilla]) -> None:
    with served(kind, JOBS["storm-2000"].shape(PLAN), Cores()) as one:
        with stage(one, JOBS["fanout-500"].shape(PLAN)) as room:
            room.load.connect(30)
            figures = room.run(1, rate=50)
        assert figures["received"] == figures["expected"] == 50 * 30
        assert not any(figures[fault] for fault in ("lost", "gaps", "late", "errors", "dropped"))
        with stage(one, JOBS["storm-2000"].shape(PLAN)) as rooms:
            rooms.load.connect(100)  # of two rooms
            assert rooms.load.tell("settle", {"quiet": 0.3})["announced"] == 0
            assert rooms.load.tell("status")["ready"] == 100
        with (
            stage(one, Shape(by_clients=True, first_only=True, message=payload(), namespace="nowhere")) as refused,
            pytest.raises(LoadError, match="0 of 5 clients could join: joining was refused"),
        ):
            refused.load.connect(5)


def test_publications_by_a_wrong_key_are_errors(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.servers.centrifuge.API_KEY", "of somebody else")
    job = JOBS["api-publish"]
    with stage(server, job.shape(PLAN)) as one:
        figures: Figures = job.measure(one)
    assert figures["errors"] > 0
    assert "publishing was refused" in figures["complaint"]


def test_a_page_that_is_not_the_page_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.jobs.pages.PATH", "/health/live")
    with (
        stage(server, JOBS["pages"].shape(PLAN)) as one,
        pytest.raises(AssertionError, match="200: "),
    ):
        JOBS["pages"].measure(one)


def test_fan_out_and_connects_over_tls() -> None:
    if reason := certificate.missing() or native.missing() or Flotilla.missing():
        pytest.skip(reason)
    with served(FlotillaTls, JOBS["tls"].shape(PLAN), Cores()) as one:
        with stage(one, JOBS["tls"].shape(PLAN)) as fanned:
            fanned.ensure(20)
            figures = fanned.run(10, window=20, publications=300)
            assert figures["received"] == figures["expected"] == 300 * 20
            assert not figures["lost"] and not figures["gaps"] and not figures["errors"]
        with stage(one, JOBS["tls-storm-1000"].shape(PLAN)) as storm:
            assert JOBS["tls-storm-1000"].measure(storm)["per_second"] > 0


def test_a_dearer_revision_is_found() -> None:
    """The checkout whose processes burn CPU beside their work is worse than the working tree."""
    if reason := native.missing() or Flotilla.missing():
        pytest.skip(reason)
    probe, found = PROBES["publish"], no_pairs()
    with revision.checked_out(revision.find("HEAD")) as checkout:
        entry = checkout / "project" / "asgi.py"
        entry.write_text(entry.read_text() + BURNS)
        with instances((ROOT, checkout), pure=False) as servers:
            measure(probe, PLAN, servers, 6, found)
    assert comparisons(probe, found)["us_each"].worse(0.05), table(probe, found, 0.05)


@pytest.mark.parametrize("name", [name for name in PROBES if name != "publish"])
def test_every_probe_measures_its_figures(name: str) -> None:
    if reason := native.missing() or Flotilla.missing():
        pytest.skip(reason)
    probe, found = PROBES[name], no_pairs()
    with instances((ROOT, ROOT), pure=False) as servers:
        measure(probe, PLAN, servers, 1, found)
    assert set(probe.figures) <= set(found[0][0])


def no_pairs() -> Pairs:
    return [], []


def _as_words(shape: Shape) -> dict[str, Any]:
    return {name: getattr(shape, name) for name in Shape.__slots__ if name != "namespace"}
