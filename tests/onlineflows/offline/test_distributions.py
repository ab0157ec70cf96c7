"""Marginals, spectrum and correlations."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from onlineflows.errors import DataError
from onlineflows.offline.distributions import (
    TwoSamples,
    correlations_figure,
    draw_marginal,
    marginals_figure,
    rank_correlation,
    spectrum_figure,
)
from onlineflows.offline.regions import Regions
from onlineflows.offline.style import new_figure
from streams.schema import EventSchema, Feature

SCHEMA = EventSchema(
    (
        Feature("mjj", "TeV", 0.0, 14.0),
        Feature("dmJ", "TeV", 0.0, 7.0),
        Feature("odd$name", "", -9, 9),
    )
)


def events(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    m = 2.5 + rng.exponential(0.7, n)
    return np.column_stack([m, rng.exponential(0.2, n) * m, rng.normal(size=n)]).astype(np.float32)


BOTH = TwoSamples(SCHEMA, events(4000, 1), events(6000, 2))
ALONE = TwoSamples(SCHEMA, events(4000, 1))


def panels(samples: TwoSamples, column: int) -> tuple[Axes, Axes]:
    main, ratio = new_figure(4, 4).subplots(2, 1)
    draw_marginal(main, ratio, samples, column)
    return main, ratio


def drawn_ratios(ratio: Axes) -> np.ndarray:
    return np.asarray(ratio.containers[0].lines[0].get_ydata())


def test_the_rank_correlation_is_that_of_scipy() -> None:
    x = events(500, 3)

    np.testing.assert_allclose(rank_correlation(x), spearmanr(x).statistic, atol=1e-12)


def test_a_constant_column_has_no_correlation_and_no_number_in_the_matrix() -> None:
    x = events(500, 3)
    x[:, 2] = 0.5

    assert np.isnan(rank_correlation(x)[2]).all()
    correlations = correlations_figure(TwoSamples(SCHEMA, x)).axes[0]
    assert [text.get_text() for text in correlations.texts[6:]] == ["", "", ""]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_events_have_no_correlation(n: int) -> None:
    assert np.isnan(rank_correlation(events(n, 3))).all()


@pytest.mark.parametrize("draw", [marginals_figure, lambda s: spectrum_figure(s, None)])
def test_a_model_far_from_the_reference_is_drawn(draw: Callable[[TwoSamples], Figure]) -> None:
    draw(TwoSamples(SCHEMA, events(100, 1) / 3, events(100, 2) + 3))


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(DataError, match="got 10 of the snapshot, 0 of the data"):
        TwoSamples(SCHEMA, events(10, 1), events(0, 2))


def test_the_ratio_of_a_sample_to_itself_is_one() -> None:
    _, ratio = panels(TwoSamples(SCHEMA, events(2000, 1), events(2000, 1)), 0)

    np.testing.assert_allclose(drawn_ratios(ratio), 1.0)


def test_the_ratio_does_not_depend_on_the_sizes_of_the_samples() -> None:
    x = events(2000, 1)

    _, ratio = panels(TwoSamples(SCHEMA, np.concatenate([x, x, x]), x), 1)

    np.testing.assert_allclose(drawn_ratios(ratio), 1.0)


def test_ratios_of_equal_densities_scatter_as_their_errors_say() -> None:
    _, ratio = panels(TwoSamples(SCHEMA, events(40_000, 4), events(400_000, 5)), 2)
    segments = ratio.containers[0].lines[2][0].get_segments()
    errors = np.array([(s[1, 1] - s[0, 1]) / 2 for s in segments])

    pulls = (drawn_ratios(ratio) - 1.0) / errors

    # 50 pulls: the standard deviation is known to 10 %; the reference adds 5 %.
    assert 0.65 < pulls.std() < 1.45


def beyond(ratio: Axes) -> list[int]:
    """How many ratios are triangles at the upper edge and at the lower one."""
    return [len(line.get_xdata()) for line in ratio.lines if line.get_label() == "beyond"]


def test_ratios_beyond_the_panel_are_marked_at_its_edges() -> None:
    rng = np.random.default_rng(7)
    wide, narrow = rng.normal(0, 1.0, (2, 200_000, 3))
    wide[:, 2] *= 1.15
    _, ratio = panels(TwoSamples(SCHEMA, wide, narrow), 2)
    low, high = ratio.get_ylim()
    values = drawn_ratios(ratio)

    assert beyond(ratio) == [np.count_nonzero(values > high), np.count_nonzero(values < low)]
    assert beyond(ratio)[0] > 0


def test_the_panel_of_unlike_samples_is_wider() -> None:
    x = events(40_000, 4)
    _, alike = panels(TwoSamples(SCHEMA, events(40_000, 5), x), 2)
    _, unlike = panels(TwoSamples(SCHEMA, np.concatenate([x, 0.2 * x]), x), 2)

    assert alike.get_ylim() == (0.75, 1.25)
    assert unlike.get_ylim() == (0.0, 2.0)
    assert beyond(unlike)[0] > 0


def test_a_histogram_stays_inside_the_support() -> None:
    main, _ = panels(BOTH, 1)

    assert main.get_xlim()[0] == 0.0


def test_a_constant_feature_can_be_drawn() -> None:
    x = events(100, 6)
    x[:, 2] = 1.0

    main, _ = panels(TwoSamples(SCHEMA, x, x), 2)

    assert main.get_xlim() == (0.5, 1.5)


@pytest.mark.parametrize("samples", [BOTH, ALONE], ids=["with reference", "without"])
@pytest.mark.parametrize(
    "make",
    [marginals_figure, correlations_figure, lambda s: spectrum_figure(s, Regions())],
    ids=["marginals", "correlations", "spectrum"],
)
def test_a_figure_leaves_no_global_state(
    make: Callable[[TwoSamples], Figure], samples: TwoSamples
) -> None:
    before = dict(mpl.rcParams)

    figure = make(samples)

    assert dict(mpl.rcParams) == before
    assert len(figure.axes) > 0


def test_the_difference_of_correlations_is_model_minus_reference() -> None:
    figure = correlations_figure(BOTH)

    shown = np.asarray(figure.axes[2].images[0].get_array())

    assert BOTH.reference is not None
    expected = rank_correlation(BOTH.model) - rank_correlation(BOTH.reference)
    np.testing.assert_allclose(shown, expected)
