"""A producer's stream as a torch dataset, over real sockets on the loopback."""

import dataclasses
import itertools
import json
import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from onlineflows.adapters import stream_dataset
from onlineflows.adapters.stream_dataset import StreamDataset
from onlineflows.errors import ConfigError
from replay.producer import run_producer
from replay.settings import PacingConfig, ReplayConfig
from streams import (
    ArraySource,
    ConsumerLedger,
    Events,
    EventSchema,
    Feature,
    InputError,
    LedgerError,
    Position,
    ProtocolError,
    RefusedError,
    SchemaError,
    Status,
    TransportError,
    WireConfig,
)
from streams.transport import Receiver

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
N_EVENTS = 5000
WAIT_S = 30


def source(n: int = N_EVENTS, **changes: Any) -> ArraySource:
    """Events that carry their own index."""
    x = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    return ArraySource(SCHEMA, x, **changes)


class Breaking(ArraySource):
    """One that can't be read on in its middle."""

    def read(self, n: int) -> Events:
        if self._at >= N_EVENTS // 2:
            raise InputError("the file is damaged")
        return super().read(n)


@contextmanager
def producing(events: ArraySource, **wire: Any) -> Iterator[tuple[WireConfig, queue.Queue[Any]]]:
    """Serves a run in a thread; gives the consumer's wire, and where the report will be."""
    settings = {"batch_events": 256, "heartbeat_s": 0.2, "connect_timeout_s": WAIT_S, **wire}
    addresses: queue.Queue[str] = queue.Queue()
    reports: queue.Queue[Any] = queue.Queue()

    def serve() -> None:
        try:
            report = run_producer(
                events,
                wire=WireConfig("tcp://127.0.0.1:*", **settings),
                pacing=PacingConfig(),
                replay=ReplayConfig(lumisection_events=700),
                on_listening=addresses.put,
            )
            reports.put(report.document())
        except RefusedError as error:
            reports.put(str(error))

    thread = threading.Thread(target=serve)
    thread.start()
    yield WireConfig(addresses.get(timeout=WAIT_S), **settings), reports
    thread.join(WAIT_S)
    assert not thread.is_alive()


def indices(batches: list[torch.Tensor]) -> list[int]:
    return torch.cat(batches)[:, 0].int().tolist()


def test_every_event_of_a_run_comes_once_and_the_run_ends():
    with producing(source()) as (wire, reports):
        dataset = StreamDataset(wire)
        batches = list(DataLoader(dataset, batch_size=None))
    assert indices(batches) == list(range(N_EVENTS))
    assert batches[0].dtype == torch.float32
    assert dataset.schema == SCHEMA
    assert dataset.ended.condition == "GOOD"
    assert dataset.ledger.document()["trained"] == N_EVENTS
    assert reports.get()["is_acknowledged"]


def test_events_that_are_withheld_are_accounted_for():
    status = np.full(N_EVENTS, Status.NOT_SELECTED, dtype=np.uint8)
    status[::20] = Status.GOOD
    status[1::100] = Status.NOT_A_NUMBER
    with producing(source(status=status)) as (wire, _):
        dataset = StreamDataset(wire)
        assert indices(list(dataset)) == list(range(0, N_EVENTS, 20))
    document = dataset.ledger.document()
    assert (document["trained"], document["not_selected"], document["bad"]) == (250, 4700, 50)


@pytest.mark.parametrize("n_first", [1, 7])
def test_what_is_left_early_is_taken_up_without_a_loss_or_a_repeat(n_first):
    with producing(source()) as (wire, _):
        dataset = StreamDataset(wire)
        batches = list(itertools.islice(dataset, n_first))
        batches += list(dataset)
    assert indices(batches) == list(range(N_EVENTS))
    assert dataset.ledger.balance().is_balanced


def test_another_process_can_take_it_up():
    with producing(source()) as (wire, _):
        first = StreamDataset(wire)
        batches = list(itertools.islice(first, 3))
        state = json.loads(json.dumps(first.state_dict()))
        second = StreamDataset(wire)
        second.load_state_dict(state)
        batches += list(second)
    assert indices(batches) == list(range(N_EVENTS))
    assert second.ledger.balance().is_balanced


def test_nothing_is_acknowledged_that_was_not_yielded(monkeypatch):
    yielded: list[int] = []
    acknowledged: list[tuple[int, int]] = []

    class Watched(Receiver):
        def acknowledge(self, position: Position) -> None:
            acknowledged.append((position.next_event, len(yielded)))
            super().acknowledge(position)

    monkeypatch.setattr(stream_dataset, "Receiver", Watched)
    with producing(source()) as (wire, _):
        iterator = iter(StreamDataset(wire))
        for x in iterator:
            yielded += indices([x])
    assert len(acknowledged) > 10
    assert all(next_event <= n for next_event, n in acknowledged)


def test_a_run_without_events_ends_at_once():
    with producing(source(0)) as (wire, _):
        assert list(StreamDataset(wire)) == []


def test_after_the_end_of_a_run_the_next_run_is_waited_for():
    with producing(source()) as (wire, _):
        dataset = StreamDataset(wire)
        list(dataset)
    other = EventSchema(SCHEMA.features[:1])
    with producing(ArraySource(other, np.zeros((1000, 1), dtype=np.float32))) as (wire, _):
        dataset._wire = wire
        assert sum(map(len, dataset)) == 1000
    assert dataset.schema == other
    assert dataset.ledger.document()["trained"] == 1000


def test_a_run_that_did_not_end_as_planned_is_warned_of(caplog):
    x = np.zeros((N_EVENTS, 2), dtype=np.float32)
    with producing(Breaking(SCHEMA, x)) as (wire, _), caplog.at_level(logging.WARNING):
        dataset = StreamDataset(wire)
        assert sum(map(len, dataset)) < N_EVENTS
    assert dataset.ended.condition == "ABORTED"
    (record,) = [r for r in caplog.records if r.name == stream_dataset.__name__]
    assert record.condition == "ABORTED"
    assert "damaged" in record.text


def test_accounts_that_do_not_balance_are_an_error(monkeypatch):
    def forget(self: ConsumerLedger, numbers: list[int], *, trained: int) -> None:
        del self, numbers, trained

    monkeypatch.setattr(ConsumerLedger, "account", forget)
    with producing(source(300)) as (wire, _), pytest.raises(LedgerError, match="never accounted"):
        list(StreamDataset(wire))


def test_events_of_another_schema_are_refused():
    with producing(source()) as (wire, reports):
        with pytest.raises(SchemaError, match="expected 1 features"):
            list(StreamDataset(wire, expect=EventSchema(SCHEMA.features[:1])))
        assert "expected 1 features" in reports.get(timeout=WAIT_S)


def test_no_producer_is_an_error_after_the_time_limit():
    dataset = StreamDataset(WireConfig("ipc:///nowhere/at-all", connect_timeout_s=0.05))
    with pytest.raises(TransportError):
        list(dataset)


@pytest.mark.parametrize("state", [{}, {"position": 3, "ledger": {}}, None])
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises((ProtocolError, LedgerError), match="expected"):
        StreamDataset(WireConfig()).load_state_dict(state)


def test_one_worker_yields_every_event_once():
    with producing(source()) as (wire, reports):
        dataset = StreamDataset(wire)
        loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork")
        assert indices(list(loader)) == list(range(N_EVENTS))
    assert reports.get()["is_acknowledged"]


def test_several_workers_are_refused(monkeypatch):
    worker = SimpleNamespace(id=0, num_workers=2)
    monkeypatch.setattr(stream_dataset, "get_worker_info", lambda: worker)
    with pytest.raises(ConfigError, match="num_workers=0 or 1 for a stream; got 2"):
        next(iter(StreamDataset(WireConfig())))


def test_each_lane_is_a_share_of_the_stream():
    shares: dict[int, list[torch.Tensor]] = {}

    def iterate(wire: WireConfig, lane: int) -> None:
        shares[lane] = list(StreamDataset(dataclasses.replace(wire, lane=lane)))

    with producing(source(20_000), lanes=2) as (wire, reports):
        threads = [threading.Thread(target=iterate, args=(wire, lane)) for lane in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    both = [indices(shares[lane]) for lane in range(2)]
    assert min(map(len, both)) > 5000
    assert sorted(both[0] + both[1]) == list(range(20_000))
    assert reports.get()["is_acknowledged"]
