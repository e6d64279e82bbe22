"""Publications of a project's own code that are traced: from the call over the commit to the script."""

import asyncio
import os
from typing import Any

import pytest
from django.db import transaction
from opentelemetry.sdk.trace import ReadableSpan

from flotilla import apublish, publish
from flotilla.realtime import traces
from flotilla.realtime.conf import get_config
from tests.realtime.client.nodes import REALTIME
from tests.realtime.seen_spans import Seen, about, itself, parent_of

ROOM = "open:a"


@pytest.fixture
def seen(configured: Any) -> Seen:
    """Everything is sampled."""
    made = Seen()
    configured.REALTIME = REALTIME | {"tracing": True, "tracing_ratio": 1, "tracing_provider": made}
    return made


def exported(seen: Seen) -> dict[str, ReadableSpan]:
    """What has ended, by name."""
    recorder = traces.recorder()
    assert recorder is not None
    recorder.close().result(20)
    return {span.name: span for span in seen.spans}


@pytest.mark.django_db(transaction=True)
def test_the_wait_for_the_commit_is_a_part_of_a_publication(seen: Seen) -> None:
    with transaction.atomic():
        assert publish(ROOM, 1) is None
        with seen.provider.get_tracer("project").start_as_current_span("the rest of the view"):
            pass
    found = exported(seen)
    publication, script, rest = (found[name] for name in ("publish", "redis publish", "the rest of the view"))
    assert parent_of(script) == itself(publication)
    assert (about(publication)["namespace"], about(script)["offset"]) == ("open", 1)
    assert (publication.start_time or 0) <= (rest.start_time or 0)
    assert (script.start_time or 0) >= (rest.end_time or 0)


@pytest.mark.django_db(transaction=True)
def test_a_publication_that_is_rolled_back_is_in_no_trace(seen: Seen) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        publish(ROOM, 1)
        raise ZeroDivisionError
    assert exported(seen) == {}


@pytest.mark.django_db(transaction=True)
async def test_a_coroutine_publishes_within_the_projects_own_span(seen: Seen) -> None:
    with seen.provider.get_tracer("project").start_as_current_span("view"):
        await apublish(ROOM, 1)
    found = await asyncio.to_thread(exported, seen)
    assert parent_of(found["publish"]) == itself(found["view"])
    assert parent_of(found["redis publish"]) == itself(found["publish"])


@pytest.mark.django_db(transaction=True)
def test_a_provider_that_cannot_be_made_costs_the_traces_alone(
    configured: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise RuntimeError("no endpoint")

    configured.REALTIME = REALTIME | {"tracing": True, "tracing_ratio": 1, "tracing_provider": fails}
    assert publish(ROOM, 1) is not None
    assert publish(ROOM, 2) is not None
    (said,) = (record.getMessage() for record in caplog.records if record.name == "flotilla.tracing")
    assert said.startswith("nothing is traced: ")
    assert "fails" in said


@pytest.mark.django_db(transaction=True)
def test_a_provider_that_nobody_has_set_is_told_of(configured: Any, caplog: pytest.LogCaptureFixture) -> None:
    configured.REALTIME = REALTIME | {"tracing": True, "tracing_ratio": 1}
    assert publish(ROOM, 1) is not None
    assert "nothing is traced until a tracer provider is set: see tracing_provider" in caplog.messages


def test_a_forked_process_has_a_recorder_of_its_own(seen: Seen) -> None:
    """With a provider, and so an exporter's thread, of its own."""
    ours = traces.recorder()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        theirs = traces.recorder()
        os.write(writing, b"another" if theirs is not None and theirs is not ours else b"the same")
        os._exit(0)
    assert os.read(reading, 100) == b"another"
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    get_config.reset()
