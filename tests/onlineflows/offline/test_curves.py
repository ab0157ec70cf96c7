"""ROC and SIC figures."""

from pathlib import Path

import numpy as np
import pytest

from onlineflows.offline.curves import roc_figure, sic_figure
from onlineflows.offline.scores import MethodResult, rate_score
from onlineflows.offline.style import new_figure, save_figure


@pytest.fixture(scope="module")
def curves() -> dict[str, MethodResult]:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 4000)
    noise = rng.normal(size=4000)
    return {
        name: rate_score(noise + shift * label, label, min_background=50)
        for name, shift in (("data", 1.0), ("snapshot", 0.9), ("optimum", 1.2))
    }


def test_every_curve_is_drawn_with_its_maximum(curves: dict[str, MethodResult]) -> None:
    figure = sic_figure(curves)

    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    best = curves["snapshot"].max_sic
    assert len(texts) == 4  # three curves and the random line
    assert any(
        "snapshot" in text and rf"{best.value:.1f} \pm {best.error:.1f}" in text for text in texts
    )


def test_the_rejection_is_one_over_the_false_positive_rate(
    curves: dict[str, MethodResult],
) -> None:
    axes = roc_figure({"data": curves["data"]}).axes[0]

    x, y = axes.lines[0].get_data()

    np.testing.assert_array_equal(x, curves["data"].curve.tpr)
    np.testing.assert_allclose(y, 1 / curves["data"].curve.fpr)


def test_figures_are_saved_as_png_and_pdf(tmp_path: Path) -> None:
    png, pdf = save_figure(new_figure(2, 2), tmp_path / "new", "sic")

    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
