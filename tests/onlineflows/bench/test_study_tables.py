"""Tables of the studies: every number that a reader needs is in them, bounds are told as such."""

import numpy as np

from onlineflows.bench.study_tables import (
    absorption_tables,
    amplification_tables,
    compression_tables,
    coverage_tables,
)


def stored(n: int, sic: float) -> dict[str, object]:
    return {"part": "stored", "fraction": 0.01, "n_events": n, "sic": [sic, sic]}


def snapshot(sic: float) -> dict[str, object]:
    return {
        "part": "snapshot",
        "fraction": 0.01,
        "model": "default",
        "n_seen": 10_000,
        "seed": 1,
        "n_parameters": 50,
        "snapshot_nbytes": 2000,
        "event_nbytes": 20,
        "yields": [0.001, 0.1],
        "sic": [sic],
        "significance": [1e9],
        "signal_kept": [1.0],
    }


def test_an_equivalent_fraction_is_told_with_its_gain_and_bounds_as_bounds() -> None:
    rows = [stored(100, 1.0), stored(1000, 3.0), stored(10_000, 5.0), snapshot(3.0)]

    worth, searches = compression_tables(rows)

    (line,) = worth.lines
    told = dict(zip(worth.header, line, strict=False))
    assert told["f_store"] == "0.01"
    assert told["f* by Z"] == "≥ 1"
    assert line[-2:] == ("0.1 (0.1 to 0.1)", "10")
    assert searches.lines[1] == ("1,000", "3.00")


def amplified(mse: float, error: float) -> dict[str, object]:
    errors = {"joint 2": {"n_cells": 2, "mse": mse, "mse_error": error}}
    return {"trainer": "window", "seed": 1, "n_seen": 1000, "errors": errors}


def test_an_error_that_reaches_zero_gives_a_lower_limit() -> None:
    assert amplification_tables([amplified(1e-4, 2e-4)])[0].lines == (("window", "1,000", "> 833"),)
    assert amplification_tables([amplified(1e-3, 1e-4)])[0].lines == (
        ("window", "1,000", "250 (227 to 278)"),
    )


def test_without_signal_there_is_nothing_to_keep() -> None:
    row = {
        "fraction": 0.0,
        "position": "uniform",
        "buffer": "window",
        "seed": 1,
        "n_seen": 9,
        "injected": 0.0,
        "data": 1e-5,
        "data_error": 1e-5,
        "learned": 2e-4,
    }

    assert absorption_tables([row])[0].lines[0][-1] == "–"


def test_coverage_is_told_for_regions_and_for_all_points_together() -> None:
    rng = np.random.default_rng(1)
    rows = [
        {
            "first": first,
            "names": ["point 0", "3.3 to 3.7"],
            "truth": [0.0, 0.0],
            "values": rng.normal(size=(5, 4, 2)).tolist(),
        }
        for first in (0, 5)
    ]

    (table,) = coverage_tables(rows)

    quantities = [line[0] for line in table.lines]
    assert quantities == [
        *("all log-densities", "all log-densities", "all regions", "all regions"),
        *("3.3 to 3.7", "3.3 to 3.7"),
    ]
