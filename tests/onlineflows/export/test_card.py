"""The model card: everything from the manifest, the same each time, and its code runs."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onlineflows.export.card import cell, model_card
from onlineflows.flows.spec import build_spec
from onlineflows.online.learned import LearnedModel
from onlineflows.online.snapshot import Snapshot, snapshot_nbytes, write_snapshot
from onlineflows.preprocess import Preprocessing
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m|1", "TeV", 0.0, 10.0), Feature("t", "", 0.0, float("inf"))))


@pytest.fixture
def snapshot(manifest, model_entry) -> Callable[..., Snapshot]:
    """A snapshot of a run with everything that a card may tell, some of it changed."""
    entry = model_entry(n_taken=990, n_trained=990, n_uses=3960, n_steps=7)
    about = manifest(
        run_name="my run",
        run=3,
        schema=SCHEMA.to_dict(),
        models=(entry,),
        n_seen=1000,
        n_trained=990,
        n_uses=3960,
        n_steps=7,
        final=True,
        ledger={"skipped": {"out_of_support": 8, "not_finite": 2}, "lost": 0},
        history={"points": [[500, -1.5, 512], [1000, -1.75, 512]]},
        drift={"n_alarms": 1, "alarms": [[700, -1.2]]},
        stream={
            "mode": "lossless",
            "seed": 4,
            "n_events": 1000,
            "config": {"source": {"type": "lhco_features", "paths": ["/home/me/a.h5"]}},
            "sources": [{"name": "a.h5", "nbytes": 12345, "sha256": "ab" * 32}],
            "n_sources": 3,
            "sources_sha256": "cd" * 32,
        },
        config={"flow": {"bins": 4}, "wire": {"address": "tcp://secret:1"}},
        gate={"passed": False, "statistic": 3.5, "threshold": 2.6, "test": "KS", "n": 2048},
        sha256={"model.safetensors": "ef" * 32},
    )
    x = np.random.default_rng(1).uniform(1, 9, (500, 2)).astype(np.float32)
    theta = np.zeros((1, build_spec(entry.flow, 2).n_parameters), np.float32)
    learned = LearnedModel(theta, Preprocessing.fit(SCHEMA, x, knots=entry.knots).to_arrays())

    def make(**changed: object) -> Snapshot:
        found = dataclasses.replace(about, **changed)
        return Snapshot(found, {model.name: learned for model in found.models})

    return make


@pytest.fixture
def card(snapshot) -> Callable[..., str]:
    """The card of such a snapshot."""
    return lambda **changed: model_card(snapshot(**changed), nbytes=80_000)


@pytest.mark.parametrize(
    "words",
    [
        "# my run\n",
        "990 events of 8 bytes in a model of 80,000 bytes",
        "| run | my run, number 3 |",
        "| condition | good |",
        "| source.type | lhco\\_features |",
        "| a.h5 | 12,345 | `abababababababab` |",
        f"2 more files; all of them by hash: `{'cd' * 32}`",
        "| m\\|1 | TeV | 0 | 10 |",
        "| t | – | 0 | – |",
        "| joint | everything | autoregressive spline, 1 blocks, 2 x 8, 4 bins within ±5 |",
        "| skipped | 10; out\\_of\\_support: 8; not\\_finite: 2 |",
        "| newest NLL | -1.6250 nats per event, mean of the newest 1,024 that were evaluated",
        "| gate | FAILED: 3.50 of 2.60 allowed, KS of 2,048 newest events |",
        "| drift alarms | 1 at events 700 |",
        "it would hold 10,000 events of this schema",
        "| flow.bins | 4 |",
        f"`{'ef' * 32}`",
    ],
)
def test_the_card_says(card, words: str) -> None:
    assert words in card()


def test_the_card_is_the_same_each_time(card) -> None:
    assert card() == card()


def test_the_card_tells_no_folder_and_no_address(card) -> None:
    assert "/home/me" not in card()
    assert "secret" not in card()


def test_every_table_has_as_many_cells_in_each_row(card) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", card(), re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(cells) == 1, table


def test_nothing_of_a_hostile_name_is_markup(card) -> None:
    text = card(run_name="a](http://x) <img src=y>\n# b", tainted=("`x` | y",))
    assert "<img" not in text
    assert "a\\](http://x) &lt;img src=y&gt; # b" in text
    assert "TAINTED: \\`x\\` \\| y" in text


def test_regions_bring_their_limits(card, model_entry) -> None:
    window = model_entry(name="window", inside=(3.1, None))
    assert "integrates to 1 over the window" in card(models=(model_entry(), window))
    assert "integrates to 1 over the window" not in card()


def test_what_a_manifest_lacks_is_said_to_be_lacking(card) -> None:
    text = card(stream={}, history={}, gate={}, drift={}, ledger={}, config={})
    for words in ("none yet", "not judged", "No files", "| skipped | 0 |"):
        assert words in text


def test_the_code_on_the_card_runs(snapshot, tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, snapshot(), manifest_nbytes=16_384)
    text = model_card(snapshot(), nbytes=snapshot_nbytes(path))
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    exec(code.replace("SNAPSHOT", str(path)), names)
    assert names["log_prob"].shape == (1000,)  # type: ignore[attr-defined]


def test_lists_and_answers_are_written_out() -> None:
    assert cell([1, 2.5, "x"]) == "1, 2.5, x"
    assert cell([{"name": "m", "unit": ""}, {"name": "t"}]) == "name m; name t"
    assert (cell([]), cell(True), cell(False)) == ("none", "yes", "no")
