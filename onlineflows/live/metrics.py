"""The metrics of a run, by the conventions of Prometheus: one table, and what reads from it.

Nothing is counted here: every number is the newest that a daemon has said. A counter of a process
that began anew falls, as such counters do.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onlineflows.live.state import RunState, Standing
from streams.ledger import WITHHELD
from streams.telemetry import ConsumerTelemetry, ProducerTelemetry

PREFIX = "onlineflows_"

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values by those labels that aren't the run's and the daemon's."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric.

    Args:
        name: without the prefix; a counter's without ``_total``.
        kind: what it is.
        help: what it says.
        samples: its values in a document.
        labels: beside ``run`` and ``daemon``.
        unit: where it isn't a plain number; the name ends with it.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Callable[[Any], Samples]
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def exposed(self) -> str:
        """The name under which its values appear."""
        return PREFIX + self.name + ("_total" if self.kind == "counter" else "")


def _one(value: float | None) -> Samples:
    return () if value is None else (((), float(value)),)


def _of(field: str) -> Callable[[Any], Samples]:
    """One value: a field of the document, left out where it is None."""
    return lambda said: _one(getattr(said, field))


def _by_name(field: str) -> Callable[[Any], Samples]:
    """A value for each key of a field of the document."""
    return lambda said: (((name,), float(n)) for name, n in getattr(said, field).items())


def _outcomes(said: ProducerTelemetry) -> Samples:
    return (((name,), float(getattr(said.counts, name))) for name in ("sent", *WITHHELD))


def _nll(said: ConsumerTelemetry) -> Samples:
    return _one(said.history[-1].nll if said.history else None)


def _ratio(value: float | None, of: float | None) -> Samples:
    return _one(value / of if value is not None and of else None)


def _snapshot(said: ConsumerTelemetry) -> Samples:
    return _one(int(said.snapshot) if said.snapshot.isdecimal() else 0)


PRODUCER = (
    Row("producer_events", "counter", "Events that passed, by what became of them.",
        _outcomes, ("outcome",)),
    Row("producer_bad_events", "counter", "Events that could not be used, by reason.",
        _by_name("bad"), ("reason",)),
    Row("producer_batches", "counter", "Batches sent.", _of("n_batches")),
    Row("producer_live_seconds", "counter", "Time in which events could be sent.",
        _of("live_s"), unit="seconds"),
    Row("producer_dead_seconds", "counter", "Dead time: no consumer had room (realtime mode).",
        _of("dead_s"), unit="seconds"),
    Row("producer_paused_seconds", "counter", "Time in which an operator had paused the stream.",
        _of("paused_s"), unit="seconds"),
    Row("producer_rewinds", "counter", "Times a consumer asked the stream to go back.",
        _of("n_rewinds")),
    Row("producer_learner_stalls", "counter", "Times a learner made no progress, though it could.",
        _of("n_stalls")),
    Row("producer_refusals", "counter", "What was refused at the producer's socket, by reason.",
        _by_name("refusals"), ("reason",)),
    Row("producer_credit_batches", "gauge", "Batches that may be sent now.", _of("credit")),
    Row("producer_target_rate_hertz", "gauge",
        "Mean rate asked for; of a profile, before its changes.",
        _of("rate_hz"), unit="hertz"),
    Row("producer_expected_events", "gauge", "Events in the whole run, where that is known.",
        _of("n_events")),
    Row("producer_lumisection", "gauge", "Lumisection of the next event.", _of("lumisection")),
)  # fmt: skip
"""Metrics of the producer."""

LEARNER = (
    Row("learner_received_events", "counter", "Events received.", _of("n_seen")),
    Row("learner_trained_events", "counter", "Events trained on.", _of("n_trained")),
    Row("learner_skipped_events", "counter", "Events received and not used, by reason.",
        _by_name("skipped"), ("reason",)),
    Row("learner_lost_events", "counter", "Events that were sent and never came.", _of("lost")),
    Row("learner_used_events", "counter", "Events in all mini-batches, repeats included.",
        _of("n_uses")),
    Row("learner_steps", "counter", "Gradient steps.", _of("n_steps")),
    Row("learner_training_seconds", "counter", "Time spent learning.",
        _of("train_s"), unit="seconds"),
    Row("learner_drift_alarms", "counter", "Drift alarms.", _of("n_alarms")),
    Row("learner_write_failures", "counter", "Snapshots and checkpoints that the disk refused.",
        _of("n_write_failures")),
    Row("learner_refusals", "counter", "What was refused at the learner's socket, by reason.",
        _by_name("refusals"), ("reason",)),
    Row("learner_nll_nats", "gauge", "Mean NLL of the newest events before they were trained on.",
        _nll, unit="nats"),
    Row("learner_buffer_fill_ratio", "gauge", "Share of the buffers that holds events.",
        _of("buffer_fill"), unit="ratio"),
    Row("learner_buffer_size_bytes", "gauge", "Size of the buffers, which never changes.",
        _of("buffer_nbytes"), unit="bytes"),
    Row("learner_unread_batches", "gauge", "Batches that have come and aren't learned from yet.",
        _of("unread_batches")),
    Row("learner_window_batches", "gauge", "Batches that may be on their way or unread.",
        _of("window_batches")),
    Row("learner_lumisection", "gauge", "Lumisection of the newest event.", _of("lumisection")),
    Row("learner_snapshot_number", "gauge", "Number of the newest snapshot; 0 before the first.",
        _snapshot),
)  # fmt: skip
"""Metrics of a learner."""

DAEMON = (
    Row("up", "gauge", "Whether a daemon speaks, or has ended as it should.",
        lambda standing: _one(standing.is_well)),
    Row("last_heard_seconds", "gauge", "Time since a daemon's last word.",
        lambda standing: _one(standing.age_s), unit="seconds"),
)  # fmt: skip
"""Metrics of each daemon, from how it is."""

GATE = (
    Row("snapshot_gate_passed", "gauge", "Whether the newest snapshot passed its gate.",
        lambda gate: _one(gate.get("passed"))),
    Row("snapshot_gate_statistic_ratio", "gauge", "The gate's statistic over its threshold.",
        lambda gate: _ratio(gate.get("statistic"), gate.get("threshold")),
        unit="ratio"),
)  # fmt: skip
"""Metrics of each learner's newest snapshot."""

TABLE: tuple[Row, ...] = (*DAEMON, *PRODUCER, *LEARNER, *GATE)
"""All metrics."""


class RunCollector(Collector):
    """Gives what is known of a run to a registry whenever it is asked.

    Args:
        state: what is known.
        clock: seconds that never go back, as those that the state was told.
    """

    def __init__(self, state: RunState, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yields each metric with its newest values; those without any too."""
        state = self._state
        standings: dict[str, Standing] = state.standings(self._clock())
        producer = {} if state.producer is None else {"replay": state.producer.newest}
        gates = {
            name: lane.snapshots[-1].gate
            for name, lane in state.record.lanes.items()
            if lane.snapshots
        }
        sources: tuple[tuple[tuple[Row, ...], dict[str, Any]], ...] = (
            (DAEMON, dict(standings)),
            (PRODUCER, dict(producer)),
            (LEARNER, {name: daemon.newest for name, daemon in state.learners.items()}),
            (GATE, dict(gates)),
        )
        for rows, documents in sources:
            for row in rows:
                yield self._family(row, documents)

    def _family(self, row: Row, documents: dict[str, Any]) -> Metric:
        kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
        labels = ["run", "daemon", *row.labels]
        family = kind(PREFIX + row.name, row.help, labels=labels, unit=row.unit)
        for daemon, document in documents.items():
            for values, number in row.samples(document):
                family.add_metric([self._state.name, daemon, *values], number)
        return family


def registry_of(state: RunState, clock: Callable[[], float]) -> CollectorRegistry:
    """Returns a registry with the metrics of one run and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(state, clock))
    return registry
