"""Quantile errors: independent events of the truth are worth their own number."""

import numpy as np
import pytest

from onlineflows.errors import DataError
from onlineflows.offline.amplification import Cells, amplification

RNG = np.random.default_rng(1)
TRUTH = RNG.normal(size=(400_000, 2))
CELLS = Cells.of(TRUTH, features=(0, 1) * 3)


def test_the_cells_hold_equal_numbers_of_the_truth() -> None:
    assert len(CELLS) == 64
    assert set(CELLS.count(TRUTH)) == {6250}


def test_cells_of_one_feature_are_its_quantiles() -> None:
    cells = Cells.of(TRUTH, features=(0, 0))
    quartiles = np.sort(np.concatenate(cells.thresholds))

    np.testing.assert_allclose(quartiles, np.quantile(TRUTH[:, 0], [0.25, 0.5, 0.75]), atol=1e-3)


def test_a_histogram_of_n_events_is_worth_n_events() -> None:
    worth = []
    for _ in range(40):
        # A model that has learned exactly the shares of 2000 events.
        shares = CELLS.count(RNG.normal(size=(2000, 2))) / 2000
        counts = RNG.multinomial(200_000, shares)
        worth.append(amplification(counts, CELLS.n_truth).mse)

    n_equivalent = (1 / 64) * (1 - 1 / 64) / np.mean(worth)
    # 40 sums of 63 squares: known to 2.8 %.
    assert n_equivalent == pytest.approx(2000, rel=0.12)


def test_the_truth_has_no_quantile_error_within_the_stated_one() -> None:
    pulls = []
    for _ in range(60):
        found = amplification(CELLS.count(RNG.normal(size=(20_000, 2))), CELLS.n_truth)
        pulls.append(found.mse / found.mse_error)

    # The cells share their truth in all 60: a common offset is allowed.
    assert abs(np.mean(pulls)) < 1
    assert np.std(pulls) == pytest.approx(1, abs=0.3)


def test_no_error_is_worth_infinitely_many_events_and_is_written_as_none() -> None:
    found = amplification(np.full(64, 1000), 10**9)

    assert found.n_equivalent == np.inf
    assert found.document()["n_equivalent"] is None


def test_a_known_bias_is_worth_what_the_formula_says() -> None:
    shares = np.full(10, 0.1) + 0.01 * np.repeat([1, -1], 5)

    found = amplification((shares * 10**9).astype(np.int64), 10**12)

    assert found.mse == pytest.approx(1e-4, rel=1e-3)
    assert found.n_equivalent == pytest.approx(0.1 * 0.9 / 1e-4, rel=1e-3)


def test_too_few_events_for_the_cells_are_refused() -> None:
    with pytest.raises(DataError, match="at least 800 events for 8 cells"):
        Cells.of(TRUTH[:700], features=(0, 0, 0))
