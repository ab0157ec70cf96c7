"""From material through the parts to what a validation found."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.material import Material
from onlineflows.offline.parts import Part
from onlineflows.offline.plan import Wanted, plan
from onlineflows.offline.regions import Regions
from onlineflows.offline.scores import Evaluation, average
from onlineflows.offline.studies import run_part
from onlineflows.offline.validate import Comparison, Findings, assemble
from onlineflows.settings import ValidateConfig
from streams.schema import EventSchema, Feature

SETTINGS = ValidateConfig(folds=2, draws=2, min_background=20)
SCHEMA = EventSchema(
    (Feature("mjj", "TeV", 0, 14), Feature("x", "", -50, 50), Feature("y", "", -50, 50))
)


def events(n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < fraction).astype(np.uint8)
    m = np.where(label, rng.normal(3.5, 0.05, n), rng.uniform(3.0, 4.0, n))
    x = rng.normal(1.5 * label[:, None], 1.0 - 0.5 * label[:, None], (n, 2))
    return np.column_stack([m, x]).astype(np.float32), label


def make_material(*, snapshot_nbytes: int = 12_000) -> Material:
    x, label = events(3000, 0.3, seed=3)
    centred = x[:, 1:] - 1.5
    ratio = 0.5 * (x[:, 1:] ** 2).sum(axis=1) - 2 * (centred**2).sum(axis=1)
    data, truth = events(2000, 0.1, seed=1)
    return Material(
        schema=SCHEMA,
        data=data,
        samples=events(2000, 0.1, seed=2)[0],
        fresh=events(2000, 0.1, seed=4)[0],
        evaluation=Evaluation(x, label, ratio),
        snapshot_nbytes=snapshot_nbytes,
        truth=truth,
    )


def find(
    material: Material, settings: ValidateConfig = SETTINGS, wanted: Wanted | None = None
) -> Findings:
    parts: Sequence[Part] = plan(wanted or Wanted(), material, settings)
    documents = {part.name: run_part(part, material, settings) for part in parts}
    return assemble(parts, documents, material, settings)


def run(material: Material, settings: ValidateConfig = SETTINGS) -> Comparison:
    found = find(material, settings).comparison
    assert found is not None
    return found


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return run(make_material())


def test_curves_have_the_names_of_the_report(comparison: Comparison) -> None:
    assert list(comparison.curves) == ["data", "snapshot", "byte_equal", "optimum"]


def test_without_exact_scores_there_is_no_optimum() -> None:
    material = make_material(snapshot_nbytes=24)
    tested = material.evaluation
    assert tested is not None
    blind = dataclasses.replace(material, evaluation=dataclasses.replace(tested, optimum=None))

    assert list(run(blind).curves) == ["data", "snapshot", "byte_equal"]


def test_no_classifier_beats_the_likelihood_ratio(comparison: Comparison) -> None:
    assert comparison.optimum is not None
    best = comparison.optimum.auc.value

    assert all(r.auc.value < best for n, r in comparison.curves.items() if n != "optimum")


def test_samples_of_the_data_s_own_density_do_as_well_as_the_data(comparison: Comparison) -> None:
    assert comparison.snapshot.auc.value == pytest.approx(comparison.data.auc.value, abs=0.05)


def test_byte_equal_draws_hold_what_fits_into_the_snapshot(comparison: Comparison) -> None:
    # 12,000 bytes hold 1,000 events of three float32; 4/5 of them lie in a region.
    assert comparison.n_byte_equal == 1000
    trained = comparison.byte_equal.n_train_sr + comparison.byte_equal.n_train_sb
    assert 700 < trained < 900


def test_a_snapshot_larger_than_the_data_leaves_all_events() -> None:
    assert make_material(snapshot_nbytes=10**9).n_byte_equal == 2000


def test_draws_that_are_too_small_to_train_on_count_as_a_random_score() -> None:
    found = run(make_material(snapshot_nbytes=24))

    assert found.n_untrainable == 2
    assert (found.byte_equal.auc.value, found.byte_equal.max_sic.value) == (0.5, 1.0)


def test_only_the_seed_decides_the_random_numbers(comparison: Comparison) -> None:
    first, material = comparison, make_material()

    again = run(material)
    other = run(material, dataclasses.replace(SETTINGS, seed=2))

    assert {n: (r.auc, r.max_sic) for n, r in again.curves.items()} == {
        n: (r.auc, r.max_sic) for n, r in first.curves.items()
    }
    assert other.byte_equal.auc != first.byte_equal.auc


def test_evaluation_events_outside_the_signal_region_are_not_counted(
    comparison: Comparison,
) -> None:
    x, label = events(3000, 0.3, seed=3)
    inside = (x[:, 0] >= 3.3) & (x[:, 0] < 3.7)

    assert comparison.n_signal == np.count_nonzero(inside & (label == 1))
    assert comparison.n_background == np.count_nonzero(inside & (label == 0))


def test_wall_time_is_kept_for_each_trained_curve(comparison: Comparison) -> None:
    assert set(comparison.seconds) == {"data", "snapshot", "byte_equal"}
    assert all(seconds > 0 for seconds in comparison.seconds.values())


def test_an_average_is_the_mean_with_the_spread_as_error(comparison: Comparison) -> None:
    both = [comparison.data, comparison.snapshot]
    areas = [r.auc.value for r in both]

    found = average(both)

    assert found.auc.value == pytest.approx(np.mean(areas))
    assert found.auc.error == pytest.approx(np.std(areas, ddof=1))


def test_the_average_of_equal_results_is_the_result(comparison: Comparison) -> None:
    found = average([comparison.data, comparison.data])

    expected = np.interp(
        np.log(found.curve.fpr), np.log(comparison.data.curve.fpr), comparison.data.curve.tpr
    )
    np.testing.assert_allclose(found.curve.tpr, expected)
    np.testing.assert_allclose(found.curve.error, 0.0, atol=1e-12)
    assert found.max_sic.value == comparison.data.max_sic.value


def test_a_single_result_cannot_be_averaged(comparison: Comparison) -> None:
    with pytest.raises(DataError, match="at least 2 results"):
        average([comparison.data])


def test_data_without_events_in_the_regions_are_refused() -> None:
    material = make_material()
    elsewhere = dataclasses.replace(material, data=material.data + np.float32(5.0))

    with pytest.raises(DataError, match="expected events in the signal region"):
        run(elsewhere)


def test_what_the_events_do_not_allow_is_told_and_the_rest_goes_on() -> None:
    angle = EventSchema((Feature("angle", "rad", 0, 14), *SCHEMA.features[1:]))
    material = dataclasses.replace(make_material(), schema=angle)
    found = find(material, wanted=Wanted(methods=("cwola",)))

    assert "in GeV or TeV" in found.not_possible["bump hunt in data"]
    assert [(line.name, line.on) for line in found.methods] == [
        ("cwola", "data"),
        ("cwola", "snapshot"),
    ]


def without_truth() -> Material:
    return dataclasses.replace(make_material(), evaluation=None, truth=None)


def test_without_truth_bumps_are_hunted_and_nothing_is_rated() -> None:
    found = find(without_truth(), wanted=Wanted("full"))

    assert (found.comparison, found.curves, found.methods) == (None, {}, ())
    assert found.unrated.startswith("no truth labels: ")
    assert set(found.hunts) == {"data", "samples"}
    assert found.likeness is not None
    assert found.not_possible == {}


def test_bumps_are_the_same_with_and_without_truth() -> None:
    assert find(without_truth()).hunts == find(make_material()).hunts


@pytest.mark.parametrize(
    ("wanted", "option"),
    [(Wanted(methods=("cwola",)), "--method cwola"), (Wanted(compression=True), "--compression")],
)
def test_without_truth_what_is_rated_is_refused_by_name(wanted: Wanted, option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}: expected truth-labelled events"):
        plan(wanted, without_truth(), SETTINGS)


def test_without_truth_nothing_is_tested_on_it() -> None:
    with pytest.raises(DataError, match="expected truth-labelled events to test on; got none"):
        without_truth().tested(Regions())


def test_material_without_truth_reaches_another_process(tmp_path: Path) -> None:
    material = without_truth()
    material.save(tmp_path)

    again = Material.load(tmp_path, SCHEMA, snapshot_nbytes=12_000)

    assert (again.evaluation, again.truth) == (None, None)
    assert again.fingerprint == material.fingerprint


def test_the_closure_needs_a_model_of_the_sidebands() -> None:
    document = run_part(Part("closure", "closure"), make_material(), SETTINGS)

    assert "expected a model of the sidebands" in document["not_possible"]


def test_methods_are_known_by_name() -> None:
    with pytest.raises(ConfigError, match="--method: expected one of cwola"):
        Wanted(methods=("cwolla",))


def test_a_method_that_cannot_run_on_this_snapshot_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="train a sideband model"):
        plan(Wanted(methods=("anode",)), make_material(), SETTINGS)


def test_the_full_preset_trains_methods_several_times_and_measures_everything() -> None:
    parts = plan(Wanted("full"), make_material(), SETTINGS)
    kinds = [part.kind for part in parts]

    assert kinds.count("method") == 10  # CWoLa five times on data and on samples
    assert {"closure", "likeness", "stored", "sampled", "byte_equal", "curve"} <= set(kinds)
    assert len({part.name for part in parts}) == len(parts)
    assert kinds.count("stored") > 2


def test_samples_of_the_density_of_the_data_are_alike() -> None:
    found = run_part(Part("likeness", "likeness", {}, 1), make_material(), SETTINGS)

    assert abs(found["classifier_auc"]["pull"]) < 5
    assert found["sliced_wasserstein"]["p_value"] > 0.02
    assert [feature["name"] for feature in found["features"]] == ["mjj", "x", "y"]
