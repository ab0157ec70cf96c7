"""The one-page figure and the NLL over time."""

import numpy as np
import pytest

from onlineflows.offline.distributions import TwoSamples
from onlineflows.offline.inspection import History, Spectrum, inspect_figure, nll_figure
from streams.schema import EventSchema, Feature


def samples(d: int, *, with_reference: bool) -> TwoSamples:
    rng = np.random.default_rng(1)
    schema = EventSchema(tuple(Feature(f"x{i}", "", -20, 20) for i in range(d)))
    reference = rng.normal(size=(500, d)) if with_reference else None
    return TwoSamples(schema, rng.normal(size=(500, d)), reference)


@pytest.mark.parametrize("d", [1, 6])
@pytest.mark.parametrize("with_reference", [True, False])
def test_the_page_has_a_panel_for_everything(d: int, with_reference: bool) -> None:
    figure = inspect_figure({"run": "r1"}, samples(d, with_reference=with_reference), History())

    assert len(figure.axes) == 3 + (2 * d if with_reference else d)


def test_the_facts_are_written_on_the_page() -> None:
    figure = inspect_figure({"condition": "GOOD"}, samples(2, with_reference=False), History())

    assert {"condition", "GOOD"} <= {text.get_text() for text in figure.axes[0].texts}


def test_a_history_is_drawn_as_it_is() -> None:
    history = History(np.arange(1, 6) * 1000, np.array([3.0, 2.0, 1.5, 1.2, 1.1]))

    axes = nll_figure(history).axes[0]

    np.testing.assert_array_equal(axes.lines[0].get_xdata(), history.events)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), history.nll)


@pytest.mark.parametrize(("n", "is_marked"), [(1, True), (20, True), (100, False)])
def test_few_points_of_a_history_are_marked(n: int, is_marked: bool) -> None:
    axes = nll_figure(History(np.arange(1, n + 1), np.linspace(3, 1, n))).axes[0]
    assert (axes.lines[0].get_marker() == "o") is is_marked


def test_every_alarm_is_a_line_and_one_entry_of_the_legend() -> None:
    history = History(np.arange(1, 6) * 1000, np.ones(5), alarms=(2000, 4000))

    axes = nll_figure(history).axes[0]

    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["drift alarm"]
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == [2000, 4000]


def test_an_empty_history_says_so() -> None:
    axes = nll_figure(History()).axes[0]

    assert [text.get_text() for text in axes.texts] == ["no history"]


def spectra(*names: str) -> list[Spectrum]:
    m = np.linspace(0, 5, 20)
    return [Spectrum(name, m, np.exp(-m)) for name in names]


def test_several_models_have_a_panel_more() -> None:
    figure = inspect_figure(
        {}, samples(3, with_reference=False), History(), spectra("joint", "window")
    )
    assert len(figure.axes) == 3 + 3 + 1
    legend = figure.axes[-1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["joint", "window"]


def test_one_model_has_none() -> None:
    figure = inspect_figure({}, samples(3, with_reference=False), History(), spectra("joint"))
    assert len(figure.axes) == 3 + 3


def test_many_and_long_facts_stay_in_their_panel() -> None:
    facts = {f"model {i}": "inside [3.1, 3.9]; " * 8 for i in range(20)}
    figure = inspect_figure(facts, samples(2, with_reference=False), History())
    figure.draw_without_rendering()
    panel = figure.axes[0].get_window_extent()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert max(box.x1 for box in boxes) <= panel.x1
    assert min(box.y0 for box in boxes) >= panel.y0 - 0.05 * panel.height
