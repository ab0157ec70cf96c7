"""Sources as torch datasets: every selected event once, whoever reads it."""

import functools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from onlineflows.adapters import source_dataset
from onlineflows.adapters.source_dataset import SourceDataset
from onlineflows.errors import ConfigError
from replay.settings import LhcoFeaturesConfig, StandinConfig
from replay.sources import open_source
from streams import ArraySource, EventSchema, Feature, InputError, Source, Status

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))


def numbers(n: int) -> np.ndarray:
    """Events that carry their own index."""
    return np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)


def opener(n: int, **changes: object) -> Callable[[], Source]:
    return functools.partial(ArraySource, SCHEMA, numbers(n), **changes)


def indices(batches: list[torch.Tensor]) -> list[int]:
    return torch.cat(batches)[:, 0].int().tolist()


def loader(dataset: SourceDataset, num_workers: int = 0) -> DataLoader[torch.Tensor]:
    context = "fork" if num_workers else None
    return DataLoader(
        dataset, batch_size=None, num_workers=num_workers, multiprocessing_context=context
    )


@pytest.mark.parametrize(("n", "sizes"), [(25, [10, 10, 5]), (20, [10, 10]), (3, [3]), (0, [])])
def test_batches_are_full_but_the_last(n, sizes):
    batches = list(loader(SourceDataset(opener(n), batch_size=10)))
    assert [len(x) for x in batches] == sizes
    assert all(x.dtype == torch.float32 for x in batches)


def test_events_come_in_the_order_of_the_source():
    assert indices(list(SourceDataset(opener(2500)))) == list(range(2500))


def test_what_claims_to_be_good_and_is_no_number_is_withheld():
    x = numbers(100)
    x[7, 1], x[8, 0] = np.nan, np.inf
    dataset = SourceDataset(functools.partial(ArraySource, SCHEMA, x))
    assert indices(list(dataset)) == [*range(7), *range(9, 100)]
    assert dataset.withheld == {"not_a_number": 1, "infinite": 1}


def test_batches_stay_full_where_few_events_are_selected():
    status = np.full(1000, Status.NOT_SELECTED, dtype=np.uint8)
    status[::20] = Status.GOOD
    status[1::100] = Status.NOT_A_NUMBER
    dataset = SourceDataset(opener(1000, status=status), batch_size=20)
    assert [len(x) for x in dataset] == [20, 20, 10]
    assert indices(list(dataset)) == list(range(0, 1000, 20))
    assert dataset.withheld == {"not_selected": 940, "not_a_number": 10}


def test_each_iteration_begins_anew():
    source = ArraySource(SCHEMA, numbers(30))
    dataset = SourceDataset(source, batch_size=10)
    next(iter(dataset))
    assert indices(list(dataset)) == indices(list(dataset)) == list(range(30))


def test_what_was_opened_for_an_iteration_is_closed_with_it():
    closed = []

    class Watched(ArraySource):
        def close(self) -> None:
            closed.append(self)

    dataset = SourceDataset(lambda: Watched(SCHEMA, numbers(30)), batch_size=10)
    list(dataset)
    iterator = iter(dataset)
    next(iterator)
    assert len(closed) == 1
    del iterator
    assert len(closed) == 2
    open_one = Watched(SCHEMA, numbers(30))
    list(SourceDataset(open_one))
    assert len(closed) == 2


@pytest.mark.parametrize("n", [0, 1, 999, 40_000, 100_001])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_shares_of_workers_are_every_event_once(n, workers):
    found = [
        int(index)
        for number in range(workers)
        for events in source_dataset._shares(opener(n)(), number, workers, 1000)
        for index in events.x[:, 0]
    ]
    assert sorted(found) == list(range(n))


def test_workers_share_an_endless_stream():
    source = open_source(StandinConfig(n_events=0))
    assert source.n_events is None
    firsts = [
        next(source_dataset._shares(source, number, 3, 1000)).first_event for number in range(3)
    ]
    assert firsts == [k * source_dataset.SHARE_EVENTS for k in range(3)]


def test_several_workers_yield_every_event_once():
    batches = list(loader(SourceDataset(opener(70_000), batch_size=4096), num_workers=2))
    assert sorted(indices(batches)) == list(range(70_000))


def test_workers_refuse_a_source_that_is_open(monkeypatch):
    # In a real worker torch waits ten seconds before it gives up on one that has failed.
    worker = SimpleNamespace(id=0, num_workers=2)
    monkeypatch.setattr(source_dataset, "get_worker_info", lambda: worker)
    with pytest.raises(ConfigError, match="a function that opens the source, for each of 2 worker"):
        next(iter(SourceDataset(ArraySource(SCHEMA, numbers(30)))))


def test_batches_can_be_written_to():
    events = numbers(5)
    (x,) = SourceDataset(ArraySource(SCHEMA, events))
    x += 1
    assert events[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_batch_size_must_be_positive():
    with pytest.raises(ConfigError, match="batch_size: expected at least 1; got 0"):
        SourceDataset(opener(5), batch_size=0)


def test_what_goes_wrong_with_the_source_is_heard_of(tmp_path):
    config = LhcoFeaturesConfig("lhco_features", str(tmp_path / "none.h5"))
    with pytest.raises(InputError, match=r"none\.h5"):
        list(SourceDataset(lambda: open_source(config)))


def test_a_real_file_is_read_by_two_workers_as_by_none(test_data):
    path = str(test_data("lhco/events_anomalydetection_v2.features.80k.h5"))
    dataset = SourceDataset(
        functools.partial(open_source, LhcoFeaturesConfig("lhco_features", path)), batch_size=10_000
    )
    alone = torch.cat(list(loader(dataset)))
    shared = torch.cat(list(loader(dataset, num_workers=2)))
    assert len(alone) > 70_000
    assert torch.equal(alone.sort(0).values, shared.sort(0).values)
