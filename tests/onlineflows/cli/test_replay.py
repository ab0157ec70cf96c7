"""`onlineflows replay` refuses what can't be replayed, in one message and with code 2."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uproot

from onlineflows.cli import replay
from onlineflows.cli.config import load_config
from onlineflows.cli.replay import public_document
from replay.prescales import PrescaleCounts
from replay.report import ProducerReport
from replay.settings import PrescaleConfig
from replay.sources.hdf5 import JET_COLUMNS
from streams.ledger import ProducerLedger

CONFIGS = Path(__file__).parents[3] / "configs"
ALONE = ("wire.address=tcp://127.0.0.1:*", "wire.connect_timeout_s=0.1")
"""No consumer will come, and none is needed."""


def frame() -> pd.DataFrame:
    table = np.random.default_rng(1).uniform(1, 2000, (60, len(JET_COLUMNS)))
    return pd.DataFrame(table, columns=list(JET_COLUMNS))


def shortened(path: Path) -> None:
    frame().to_hdf(path, key="df")
    path.write_bytes(path.read_bytes()[:-3000])


def flat_tree(path: Path) -> None:
    with uproot.recreate(path) as file:
        file["razorTree"] = {name: np.ones(5) for name in ("MR", "rsq", "HT", "MET")}


WRONG_FILES: dict[str, tuple[str, str, Callable[[Path], object], tuple[str, ...], str]] = {
    # what is wrong: configuration, file, how it is written, further settings, the message
    "no such file": ("lhco", "none.h5", lambda _: None, (), "expected an existing file"),
    "a folder": ("lhco", "some.h5", Path.mkdir, (), "expected a file; got the folder"),
    "empty": ("lhco", "empty.h5", Path.touch, (), "expected an HDF5 file; .*is it complete"),
    "truncated": ("lhco", "short.h5", shortened, (), "truncated file: eof = .*is it complete"),
    "key": (
        "lhco",
        "some.h5",
        lambda path: frame().to_hdf(path, key="events"),
        (),
        "expected the key 'df'; known: 'events'; at .*some.h5; set source.key",
    ),
    "column": (
        "lhco",
        "some.h5",
        lambda path: frame().rename(columns={"mj1": "massj1"}).to_hdf(path, key="df"),
        (),
        "expected a column 'mj1'; nearest known: .*'massj1'",
    ),
    "number of features": (
        "lhco",
        "some.h5",
        lambda path: pd.DataFrame(np.ones((9, 11))).to_hdf(path, key="df"),
        (),
        "expected 14 jet columns, with or without a label; got 11 unnamed columns",
    ),
    "layout": (
        "lhco",
        "some.h5",
        lambda path: frame().to_hdf(path, key="df", format="table"),
        (),
        "expected a frame in pandas' fixed layout; .*format='fixed'",
    ),
    "features for particles": (
        "lhco_particles",
        "some.h5",
        lambda path: frame().to_hdf(path, key="df"),
        (),
        "expected 2100 columns .*got 14; .*is it a feature file",
    ),
    "labels to thin by": (
        "lhco",
        "some.h5",
        lambda path: frame().to_hdf(path, key="df"),
        ("source.selection.end_row=60",),
        "expected truth labels to thin by; the file has none",
    ),
    "rows": (
        "lhco",
        "some.h5",
        lambda path: frame().assign(label=np.arange(60) % 2).to_hdf(path, key="df"),
        ("source.selection.first_row=60",),
        "expected 0 <= first_row < end_row within 60 rows; got first_row=60",
    ),
    "text named .root": (
        "nano_tt",
        "text.root",
        lambda path: path.write_text("no ROOT\n" * 50),
        (),
        "expected a ROOT file; got not a ROOT file",
    ),
    "tree": (
        "nano_tt",
        "flat.root",
        flat_tree,
        (),
        "expected a TTree or RNTuple 'Events'; known: 'razorTree'; .*set source.tree",
    ),
    "branch": (
        "razor",
        "flat.root",
        flat_tree,
        (),
        "expected a branch 'Rsq'; nearest known: 'rsq'",
    ),
    "expression": (
        "razor",
        "flat.root",
        flat_tree,
        ("source.cut=MR >",),
        "expected an expression .*got invalid syntax.* of source.cut",
    ),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_wrong_file_is_refused(what: str, refused, tmp_path: Path) -> None:
    name, file, write, settings, message = WRONG_FILES[what]
    write(tmp_path / file)
    said = refused(
        "replay",
        CONFIGS / f"{name}.toml",
        settings=(*ALONE, f"source.paths={tmp_path / file}", *settings),
    )
    assert re.search(message, said), said
    assert file in said or "source.cut" in said


def test_every_unknown_key_is_named_with_its_neighbours(refused, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[flow]\nbloks = 3\n[pacing]\nrate = 5.0\n[sorce]\ntype = 'standin'\n")
    said = refused("replay", path)
    assert f"{path}: 3 errors in the configuration" in said
    assert "flow.bloks: unknown key; nearest known: 'blocks'" in said
    assert "pacing.rate: unknown key" in said
    assert "[sorce]: unknown section; nearest known: 'source'" in said


def test_a_file_that_is_no_toml_is_refused(refused, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[flow\n")
    assert "expected TOML; got a file that isn't" in refused("replay", tmp_path / "mine.toml")


def test_a_port_in_use_is_refused(refused) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        said = refused("replay", settings=(*ALONE, f"wire.address={address}"))
    assert f"{address}: expected a free address; another process listens there" in said


@pytest.mark.parametrize("address", ["here", "tcp://127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(address: str, refused) -> None:
    said = refused("replay", settings=(*ALONE, f"wire.address={address}"))
    assert "wire.address: expected an address such as tcp://127.0.0.1:5757" in said
    assert f"got '{address}'" in said


def test_an_address_of_another_machine_is_refused(command) -> None:
    address = "tcp://10.255.0.1:5757"
    settings = (*ALONE, f"wire.address={address}", "wire.security.insecure=true")
    said = command("replay", settings=settings)
    assert said.code == 2
    assert f"got '{address}'" in said.err


def test_a_producer_without_a_consumer_gives_up(refused) -> None:
    said = refused("replay", "-q", settings=ALONE)
    assert "no consumer at " in said
    assert "raise wire.connect_timeout_s" in said


def report_of(**fields) -> ProducerReport:
    ledger = ProducerLedger()
    given = {
        "ledger": ledger,
        "lanes": (ledger, ledger),
        "problems": (),
        "bad": {},
        "condition": "GOOD",
        "text": "",
        "error": None,
        "epoch": "ab" * 16,
        "is_acknowledged": True,
        "elapsed_s": 1.0,
        "live_s": 1.0,
        "dead_s": 0.0,
        "n_rewinds": 0,
    }
    return ProducerReport(**(given | fields))


def test_lanes_that_do_not_add_up_fail_the_run(command, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = ("100 events sent, but 90 in the lanes together",)
    monkeypatch.setattr(replay, "produce", lambda *_, **__: report_of(problems=problems))
    said = command("replay", "-q", "--json", settings=("operation.health=false",))
    assert said.code == 1
    assert said.document["problems"] == list(problems)
    assert problems[0] in said.err


def test_each_prescale_is_summed_up(command, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = PrescaleCounts((PrescaleConfig("low", "mjj < 2", 10),))
    counts.record(0, 1, np.array([[12_000, 1_190]]))
    report = report_of(prescales=counts.document(10_810))
    monkeypatch.setattr(replay, "produce", lambda *_, **__: report)
    said = command("replay", "-q", settings=("operation.health=false",))
    assert "prescale low: 1,190 of 12,000 events kept (1 in 10)" in said.out


@pytest.mark.parametrize("paths", ["/home/me/events.h5", "[/home/me/events.h5]"])
def test_a_stream_says_what_it_holds_without_telling_folders(paths: str) -> None:
    document = public_document(load_config(CONFIGS / "lhco.toml", [f"source.paths={paths}"]))
    assert document["source"]["paths"] == ["events.h5"]
