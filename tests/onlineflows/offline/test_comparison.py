"""Two densities by their samples, against closed forms; two snapshots by their densities."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from onlineflows.errors import ConfigError
from onlineflows.flows.spec import build_spec
from onlineflows.offline.comparison import (
    DensityComparison,
    compare_densities,
    compare_snapshots,
)
from onlineflows.offline.comparison_figure import comparison_figure
from onlineflows.online.learned import LearnedModel
from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.online.snapshot import Snapshot
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig
from streams import EventSchema, Feature, SchemaError

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", -50.0, 50.0)))
FLOW = FlowConfig(blocks=1, hidden=8, bins=4)


class Gaussian:
    """m uniform, or rising; t normal with a mean and a width, beyond m = 5 shifted further."""

    def __init__(self, mean: float = 0.0, width: float = 1.0, beyond: float = 0.0) -> None:
        self.schema = SCHEMA
        self.mean, self.width, self.beyond = mean, width, beyond

    def _mean(self, m: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.mean + self.beyond * (m > 5)
        return result

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.log_prob_resonant(x) + self.log_prob_conditional(x)
        return result

    def log_prob_resonant(self, m: np.ndarray) -> np.ndarray:
        return np.full(len(m), -math.log(10))

    def log_prob_conditional(self, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = norm.logpdf(x[:, 1], self._mean(x[:, 0]), self.width)
        return result

    def sample(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        m = rng.uniform(0, 10, n).astype(np.float32)
        t = self._mean(m) + self.width * truncnorm.rvs(-9, 9, size=n, random_state=rng)
        return np.column_stack([m, t]).astype(np.float32)

    def sample_given(self, m: np.ndarray, seed: int) -> np.ndarray:
        raise AssertionError("not needed to compare")


def compared(a: Gaussian, b: Gaussian, n: int = 20_000) -> DensityComparison:
    return compare_densities(a, b, n=n, seed=5)


def test_the_divergences_are_those_of_two_gaussians() -> None:
    # KL(N(0, 1) || N(μ, s)) = log s + (1 + μ²) / 2 s² - 1/2; five errors: 1 in 2 million.
    found = compared(Gaussian(), Gaussian(mean=0.2, width=1.3))
    forth = math.log(1.3) + (1 + 0.04) / (2 * 1.69) - 0.5
    back = -math.log(1.3) + (1.69 + 0.04) / 2 - 0.5
    assert abs(found.a_to_b.nats - forth) < 5 * found.a_to_b.error
    assert abs(found.b_to_a.nats - back) < 5 * found.b_to_a.error
    assert abs(found.jeffreys - forth - back) < 5 * found.jeffreys_error < 0.05


def test_a_density_is_at_no_distance_from_itself() -> None:
    found = compared(Gaussian(), Gaussian())
    assert (found.jeffreys, found.jeffreys_error) == (0.0, 0.0)
    assert all(region.jeffreys == 0.0 for region in found.regions)


def test_the_feature_that_moved_is_named_with_its_distance_in_widths_of_a() -> None:
    # Shifted by 0.5 widths of a, W1 is the shift itself.
    found = compared(Gaussian(width=2.0), Gaussian(mean=1.0, width=2.0))
    assert found.largest_shift.name == "t"
    assert found.largest_shift.wasserstein == pytest.approx(1.0, abs=0.1)
    assert found.largest_shift.wasserstein_sigma == pytest.approx(0.5, abs=0.05)
    assert abs(found.largest_shift.mean - 0.5) < 5 * found.largest_shift.mean_error


def test_marginals_without_a_difference_are_as_near_as_two_draws() -> None:
    m = compared(Gaussian(), Gaussian(mean=1.0)).features[0]
    assert m.wasserstein < 6 * m.wasserstein_null


def test_the_regions_say_where_the_densities_differ() -> None:
    found = compared(Gaussian(), Gaussian(beyond=1.0))
    near = [r for r in found.regions if r.high < 4.9]
    beyond = [r for r in found.regions if r.low > 5.1]
    assert all(r.jeffreys == 0.0 for r in near)
    # J of two unit Gaussians at distance 1 is 1.
    assert all(abs(r.jeffreys - 1.0) < 5 * r.jeffreys_error for r in beyond)


def test_the_regions_cover_the_support_and_hold_all_samples() -> None:
    regions = compared(Gaussian(), Gaussian(mean=0.1)).regions
    assert (regions[0].low, regions[-1].high) == (0.0, 10.0)
    assert [r.low for r in regions[1:]] == [r.high for r in regions[:-1]]
    assert sum(r.fraction_a for r in regions) == pytest.approx(1)
    assert sum(r.fraction_b for r in regions) == pytest.approx(1)


def test_a_seed_gives_the_same_comparison_twice() -> None:
    first, second = (compared(Gaussian(), Gaussian(0.1), n=500).document() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_densities_over_different_schemas_are_refused() -> None:
    other = Gaussian()
    other.schema = EventSchema((SCHEMA.features[0], Feature("t", "", -50.0, 60.0)))
    with pytest.raises(SchemaError, match="densities to compare"):
        compared(Gaussian(), other)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 100 samples of each; got 99"):
        compared(Gaussian(), Gaussian(), n=99)


def test_the_figure_has_each_marginal_with_its_ratio_and_the_regions() -> None:
    figure = comparison_figure(compared(Gaussian(), Gaussian(0.1), n=500), ("A: 1", "B: 2"))
    assert len(figure.axes) == 2 * 2 + 1
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"A: 1", "B: 2"}


def snapshot(seed: int = 1, schema: EventSchema = SCHEMA, **changes: object) -> Snapshot:
    """A snapshot of one model whose flow is random."""
    entry = ModelEntry(
        name="joint",
        inside=None,
        outside=None,
        replicas=0,
        bootstrap=True,
        flow=FLOW,
        knots=9,
        is_fitted=True,
        n_taken=10,
        n_trained=10,
        n_uses=40,
        n_steps=1,
    )
    entry = dataclasses.replace(entry, **changes)  # type: ignore[arg-type]
    manifest = Manifest(
        run_name="test",
        run=1,
        created_utc="2026-01-01T00:00:00Z",
        code_version="0",
        schema=schema.to_dict(),
        models=(entry,),
        n_seen=seed,
        n_trained=seed,
        n_uses=seed,
        n_steps=1,
        train_seconds=0.1,
        final=False,
        tainted=(),
        ledger={},
        history={},
        drift={},
        stream={},
        config={},
    )
    rng = np.random.default_rng(seed)
    x = Gaussian().sample(1000, seed)
    theta = rng.normal(0, 0.1, (1, build_spec(FLOW, 2).n_parameters)).astype(np.float32)
    arrays = Preprocessing.fit(SCHEMA, x, knots=9).to_arrays()
    return Snapshot(manifest, {entry.name: LearnedModel(theta, arrays)})


def test_two_snapshots_are_compared_by_their_manifests_maps_and_densities() -> None:
    document = compare_snapshots(snapshot(1), snapshot(2), n=400, seed=1).document()
    assert [change["key"] for change in document["changes"]["counts"]] == [
        "n_seen",
        "n_trained",
        "n_uses",
    ]
    assert [shift["name"] for shift in document["preprocessing"]] == ["m", "t"]
    assert all(shift["largest"] >= shift["rms"] > 0 for shift in document["preprocessing"])
    assert document["density"]["jeffreys"] > 0
    assert document["why_not"] is None
    json.dumps(document, allow_nan=False)


def test_a_snapshot_is_at_no_distance_from_itself() -> None:
    document = compare_snapshots(snapshot(), snapshot(), n=400, seed=1).document()
    assert document["density"]["jeffreys"] == 0.0
    assert {shift["largest"] for shift in document["preprocessing"]} == {0.0}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (
            snapshot(schema=EventSchema((SCHEMA.features[0], Feature("u", "", -50, 50)))),
            "densities of model 'joint': the schemas differ",
        ),
        (snapshot(inside=(2.0, 3.0)), "densities of model 'joint': the schemas differ"),
        (snapshot(is_fitted=False), "expected a fitted marginal map"),
        (snapshot(name="joined"), "expected a model of the snapshot; got 'joint'"),
    ],
)
def test_snapshots_of_other_events_are_compared_by_their_manifests_alone(
    other: Snapshot, reason: str
) -> None:
    found = compare_snapshots(snapshot(), other, n=400, seed=1)
    assert (found.density, found.preprocessing) == (None, ())
    assert reason in found.why_not


def test_a_model_that_neither_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'window'"):
        compare_snapshots(snapshot(), snapshot(), n=400, seed=1, model="window")
