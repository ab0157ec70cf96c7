"""Rows of a benchmark: peers that are there, peers that aren't, and other processes."""

import sys

import pytest

from onlineflows.bench.cases import CASES, Case
from onlineflows.bench.ceiling import Ceiling
from onlineflows.bench.remote import RemoteContender, task_of
from onlineflows.bench.rows import PeerRate, Subject, make_row
from onlineflows.bench.speed import compare, known_isas, quick_setting
from onlineflows.bench.task import Task
from onlineflows.bench.timing import Rate
from onlineflows.engine import available, info
from onlineflows.errors import OnlineFlowsError
from onlineflows.settings import FlowConfig

TINY = Case("tiny", FlowConfig(blocks=1, hidden=4, bins=2), n_features=2, n_context=1)
SUBJECT = Subject(TINY, "train", batch=8, threads=2, implementation="torch", dtype="float32")
RATE = Rate(1e6, 1e3, 5e5, 2e6)


def test_the_fraction_of_the_floor_is_of_as_many_threads() -> None:
    ceiling = Ceiling("float32", gflops=2.0, median_gflops=1.0, product="mm")
    row = make_row("train", SUBJECT, RATE, ceilings={"float32": ceiling})
    # 48 live weights, six operations each, against 2 threads at 2 Gflop/s.
    assert row.floor_fraction == pytest.approx(1e6 * 6 * 48 / 4e9)


def test_the_ratio_is_to_the_fastest_peer() -> None:
    peers = {"slow": PeerRate("1", 1, 1e4), "fast": PeerRate("2", 2, 1e5), "none": None}
    row = make_row("train", SUBJECT, RATE, ceilings={}, peers=peers)
    assert (row.peer, row.peer_version, row.ratio) == ("fast", "2", 10.0)


def test_a_row_without_any_peer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onlineflows.bench.peers.peer_version", lambda name: None)
    row = compare(TINY, "logprob", 8, quick_setting({}))[0].document()
    assert row["peer"] == "not installed"
    assert row["peers"] == {"zuko": "not installed", "nflows": "not installed"}
    assert row["ratio"] is None


def test_a_task_survives_its_journey() -> None:
    task = task_of(CASES["affine coupling"], "engine", "sample", batch=8, threads=1)
    assert Task.from_line(task.line()) == task


@pytest.mark.skipif(not available(), reason="needs the compiled engine")
def test_a_worker_takes_its_turns_with_the_instruction_set_that_it_was_given() -> None:
    isa = known_isas()[-1]
    task = task_of(TINY, "engine", "train", batch=8, threads=1)
    worker = RemoteContender(task, {"ONLINEFLOWS_ISA": isa})
    try:
        assert worker.wait() == {"isa": isa}
        assert worker.run(2).wall_s > 0
    finally:
        worker.close()


def test_a_worker_that_died_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    worker = RemoteContender(task_of(TINY, "engine", "train", batch=8, threads=1))
    try:
        with pytest.raises(OnlineFlowsError, match="by hand"):
            worker.wait()
    finally:
        worker.close()


@pytest.mark.skipif(not available(), reason="needs the compiled engine")
def test_the_instruction_set_in_use_is_a_known_one() -> None:
    assert info().isa in known_isas()
