"""Absorption: where the signal is put in the stream, and what is said of the runs."""

import numpy as np
import pytest

from onlineflows.bench.absorption import POSITIONS, moved, summarise

LABEL = (np.random.default_rng(1).random(10_000) < 0.02).astype(np.uint8)


@pytest.mark.parametrize("position", POSITIONS)
def test_all_signal_is_in_its_part_of_the_stream(position: str) -> None:
    order = moved(LABEL, position, np.random.default_rng(2))

    where = np.flatnonzero(LABEL[order]) / len(LABEL)
    low, high = POSITIONS[position]
    # Signal in front of it shifts a tenth of the background by 2 %.
    assert where.min() >= low - 0.03
    assert where.max() <= high + 0.03


def test_no_event_is_lost_and_background_keeps_its_order() -> None:
    order = moved(LABEL, "early", np.random.default_rng(3))

    assert sorted(order) == list(range(len(LABEL)))
    background = order[LABEL[order] == 0]
    assert (np.diff(background) > 0).all()


def row(seed: int, learned: float) -> dict[str, object]:
    return {
        "fraction": 0.01,
        "position": "uniform",
        "buffer": "window",
        "seed": seed,
        "injected": 0.01,
        "data": 0.01,
        "data_error": 1e-4,
        "learned": learned,
        "learned_error": 1e-5,
        "n_seen": 1000,
    }


def test_what_is_kept_is_the_learned_share_over_that_of_the_data() -> None:
    (found,) = summarise([row(1, 0.007), row(2, 0.009)])

    assert found["kept"] == pytest.approx(0.8)
    assert found["kept_error"] == pytest.approx(0.1)
    assert found["difference"] == pytest.approx(-0.002)
