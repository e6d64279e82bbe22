"""The figures of a process as another one tells them: taken from a registry, and put among that one's own.

Every series of a process that drains has the labels `process="draining"` and `pid`, so that it is never the same series
as one of its successor, nor as that of another process that drained before. What is said of the instance, which goes
on in its successor, is left out: whether it is ready.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from copy import copy

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

OF_THE_INSTANCE = {"app_ready", "app_ready_check"}


class Family(msgspec.Struct, array_like=True, frozen=True):
    """A metric with its samples: name, labels and value of each."""

    name: str
    documentation: str
    type: str
    unit: str
    samples: list[tuple[str, dict[str, str], float]]


class Figures(msgspec.Struct, array_like=True, frozen=True):
    """All metrics of a process."""

    pid: int
    families: list[Family]


def figures_of(registry: CollectorRegistry) -> Figures:
    """What this process's registry has now."""
    return Figures(
        os.getpid(),
        [
            Family(m.name, m.documentation, m.type, m.unit, [(s.name, s.labels, float(s.value)) for s in m.samples])
            for m in registry.collect()
            if m.name not in OF_THE_INSTANCE
        ],
    )


class WithOthers(Collector):
    """A registry and the figures of processes that drain. It has what prometheus_client asks of a registry."""

    def __init__(self, registry: CollectorRegistry, others: Iterable[Figures], names: Collection[str] = ()) -> None:
        """`names` are the samples that are wanted; none: all."""
        self._registry = registry
        self._others = list(others)
        self._names = frozenset(names)

    def restricted_registry(self, names: Collection[str]) -> "WithOthers":
        """The same with some samples alone."""
        return WithOthers(self._registry, self._others, names)

    def collect(self) -> Iterator[Metric]:
        """Each metric once, with the samples of all."""
        found = {metric.name: _copied(metric) for metric in self._of_this_process()}
        for figures in self._others:
            for family in figures.families:
                if samples := [one for one in family.samples if not self._names or one[0] in self._names]:
                    known = found.setdefault(family.name, Metric(*_kind_of(family)))
                    _add(known, samples, figures.pid)
        yield from found.values()

    def _of_this_process(self) -> Iterable[Metric]:
        return (self._registry.restricted_registry(self._names) if self._names else self._registry).collect()


def _copied(metric: Metric) -> Metric:
    """Some collectors give the same metric again at each time."""
    made = copy(metric)
    made.samples = list(metric.samples)
    return made


def _kind_of(family: Family) -> tuple[str, str, str, str]:
    return family.name, family.documentation, family.type, family.unit


def _add(metric: Metric, samples: Iterable[tuple[str, dict[str, str], float]], pid: int) -> None:
    for name, labels, value in samples:
        metric.add_sample(name, {**labels, "process": "draining", "pid": str(pid)}, value)
