"""Several models of one stream: regions, replicas, accounts, restarts."""

from dataclasses import replace

import numpy as np
import pytest

from onlineflows.errors import CheckpointError, ConfigError
from onlineflows.model_settings import (
    BufferOverrides,
    FlowOverrides,
    ModelConfig,
    PreprocessOverrides,
    TrainerOverrides,
)
from onlineflows.online.checkpoint import read_checkpoint, write_checkpoint
from onlineflows.online.hashed import Share
from onlineflows.online.learner import Learner
from onlineflows.settings import (
    BufferConfig,
    DriftConfig,
    FlowConfig,
    LearnerConfig,
    PreprocessConfig,
    TrainerConfig,
)
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
JOINT = ModelConfig("joint", replicas=2)
SIDEBAND = ModelConfig("sideband", outside=(2.5, 3.5), flow=FlowOverrides(hidden=4))
WINDOW = ModelConfig(
    "window",
    inside=(2.0, 4.0),
    replicas=1,
    preprocess=PreprocessOverrides(fit_events=200),
    buffer=BufferOverrides(uses=8, capacity=1024),
    trainer=TrainerOverrides(batch_size=64),
)
CONFIG = LearnerConfig(
    models=(JOINT, SIDEBAND, WINDOW),
    preprocess=PreprocessConfig(fit_events=500, knots=9),
    flow=FlowConfig(blocks=2, hidden=8, bins=4),
    buffer=BufferConfig(capacity=512, uses=2),
    trainer=TrainerConfig(batch_size=128, seed=5),
    drift=DriftConfig(warmup_events=1000),
)


def events(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    m = rng.gamma(9.0, 0.3, n).clip(0.01, 9.9)
    t = 1 / (1 + np.exp(2 * (m - 2.7) + rng.normal(0, 0.5, n)))
    return np.stack([m, t], axis=1).astype(np.float32)


X = events(2000)


def feed(learner: Learner, x: np.ndarray, *, chunk: int = 200, indices=None) -> Learner:
    for start in range(0, len(x), chunk):
        end = start + chunk
        given = None if indices is None else indices[start:end]
        learner.learn(x[start:end], lumisection=1, indices=given)
    return learner


def learned(config: LearnerConfig = CONFIG, x: np.ndarray = X, **how) -> Learner:
    learner = feed(Learner(SCHEMA, config), x, **how)
    learner.finish()
    return learner


def alone(model: ModelConfig) -> LearnerConfig:
    return replace(CONFIG, models=(model,))


WHOLE = learned()


def same(a: Learner, b: Learner, names=("joint", "sideband", "window")) -> bool:
    return all(np.array_equal(a.models[n].thetas(), b.models[n].thetas()) for n in names)


def test_each_model_takes_the_events_of_its_region():
    m = X[:, 0]
    window, outside = (m >= 2.0) & (m <= 4.0), (m < 2.5) | (m > 3.5)
    counts = {name: model.n_taken for name, model in WHOLE.models.items()}
    assert counts == {"joint": 2000, "sideband": outside.sum(), "window": window.sum()}


def test_each_model_uses_its_events_as_often_as_its_own_settings_say():
    for name, uses in (("joint", 2), ("sideband", 2), ("window", 8)):
        model = WHOLE.models[name]
        assert (model.n_trained, model.n_uses) == (model.n_taken, uses * model.n_taken)


@pytest.mark.parametrize("model", [JOINT, SIDEBAND, WINDOW], ids=lambda m: m.name)
def test_what_is_trained_beside_a_model_changes_nothing(model):
    assert same(learned(alone(model)), WHOLE, names=(model.name,))


@pytest.mark.parametrize("model", [JOINT, WINDOW], ids=lambda m: m.name)
def test_replicas_change_nothing_for_the_central_model(model):
    single = learned(alone(replace(model, replicas=0)))
    assert np.array_equal(single.theta(), WHOLE.theta(model.name))


def test_more_replicas_change_nothing_for_the_first_ones():
    more = learned(alone(replace(JOINT, replicas=4)))
    assert np.array_equal(more.models["joint"].thetas()[:3], WHOLE.models["joint"].thetas())


def test_every_theta_is_different():
    thetas = WHOLE.models["joint"].thetas()
    assert thetas.shape[0] == 3
    assert len({theta.tobytes() for theta in thetas}) == 3


@pytest.mark.parametrize("chunk", [1, 77, 2000])
def test_the_sizes_of_the_batches_change_no_theta(chunk):
    assert same(learned(chunk=chunk), WHOLE)


@pytest.mark.parametrize("cut", [0, 200, 600, 1400])
def test_a_restart_from_a_checkpoint_changes_no_theta(tmp_path, cut):
    write_checkpoint(tmp_path, feed(Learner(SCHEMA, CONFIG), X[:cut]).state(), serial=1)
    second = Learner(SCHEMA, CONFIG)
    second.load(read_checkpoint(tmp_path)[0])
    feed(second, X[cut:]).finish()
    assert same(second, WHOLE)
    assert second.history.points() == WHOLE.history.points()


def test_a_checkpoint_of_other_models_is_refused():
    state = feed(Learner(SCHEMA, CONFIG), X).state()
    other = Learner(SCHEMA, alone(replace(WINDOW, replicas=2)))
    with pytest.raises(CheckpointError, match="this configuration"):
        other.load(state)


def test_weights_depend_on_the_index_of_an_event_and_not_on_its_place():
    # Events that were not sent leave gaps in the indices.
    indices = np.sort(np.random.default_rng(4).choice(9000, len(X), replace=False))
    found = learned(alone(JOINT), indices=indices).models["joint"].thetas()
    expected = WHOLE.models["joint"].thetas()
    assert np.array_equal(found[0], expected[0])
    assert not np.array_equal(found[1], expected[1])


def test_a_deep_ensemble_sees_every_event_with_the_same_weight():
    learner = learned(alone(replace(JOINT, bootstrap=False)), indices=np.arange(2000) + 7)
    assert same(learner, learned(alone(replace(JOINT, bootstrap=False))), names=("joint",))


HALVES = tuple(ModelConfig(f"half-{k}", share=(k, 2), replicas=1) for k in (0, 1))
OF_HALVES = replace(CONFIG, models=HALVES)


def test_models_of_all_shares_have_every_event_once():
    learner = learned(OF_HALVES)
    first, second = (model.n_taken for model in learner.models.values())
    assert first + second == learner.n_accepted == 2000
    # A binomial number: five standard deviations.
    assert abs(first - 1000) < 112


def test_a_share_is_a_model_of_its_events_alone():
    indices = np.arange(2000)
    mine = Share(CONFIG.trainer.seed, 1, 2).contains(indices)
    whole = alone(replace(HALVES[1], share=None))
    found = learned(whole, x=X[mine], indices=indices[mine])
    assert same(found, learned(OF_HALVES), names=("half-1",))


def test_a_share_of_a_region_is_both():
    indices = np.arange(2000)
    model = replace(WINDOW, share=(0, 3))
    inside = (X[:, 0] >= 2.0) & (X[:, 0] <= 4.0)
    expected = inside & Share(CONFIG.trainer.seed, 0, 3).contains(indices)
    assert learned(alone(model)).models["window"].n_taken == expected.sum()


@pytest.mark.parametrize("cut", [200, 1400])
def test_a_restart_keeps_the_shares(tmp_path, cut):
    write_checkpoint(tmp_path, feed(Learner(SCHEMA, OF_HALVES), X[:cut]).state(), serial=1)
    second = Learner(SCHEMA, OF_HALVES)
    second.load(read_checkpoint(tmp_path)[0])
    feed(second, X[cut:]).finish()
    assert same(second, learned(OF_HALVES, chunk=77), names=("half-0", "half-1"))


def test_events_of_nobodys_share_are_counted():
    outcome = Learner(SCHEMA, alone(HALVES[0])).learn(X, lumisection=1)
    assert outcome.skipped == {"no_model": 2000 - outcome.n_accepted}


def test_events_of_no_model_are_counted():
    outcome = Learner(SCHEMA, alone(WINDOW)).learn(X, lumisection=1)
    inside = int(((X[:, 0] >= 2.0) & (X[:, 0] <= 4.0)).sum())
    assert outcome.n_accepted == inside
    assert outcome.skipped == {"no_model": 2000 - inside}


def test_in_the_end_every_accepted_event_has_been_trained_on():
    assert (WHOLE.n_seen, WHOLE.n_accepted, WHOLE.n_trained) == (2000, 2000, 2000)
    assert WHOLE.n_uses == sum(model.n_uses for model in WHOLE.models.values())


def test_events_that_wait_for_a_model_are_not_counted_as_trained():
    learner = feed(Learner(SCHEMA, CONFIG), X[:499])
    assert learner.n_trained == 0
    assert learner.models["window"].n_trained > 0


def test_the_bytes_that_are_held_are_fixed_from_the_beginning():
    learner = Learner(SCHEMA, CONFIG)
    before = learner.buffer_nbytes
    index = 2 * 4
    joint, sideband = 1012 * (SCHEMA.event_nbytes + index), 1012 * SCHEMA.event_nbytes
    window = 1224 * (SCHEMA.event_nbytes + index)
    gate = CONFIG.gate.events * SCHEMA.event_nbytes
    assert before <= joint + sideband + window + gate
    feed(learner, X)
    assert learner.buffer_nbytes <= before


def test_a_window_is_the_support_of_its_models_density():
    density = WHOLE.density("window")
    assert (density.schema.resonant.low, density.schema.resonant.high) == (2.0, 4.0)
    samples = density.sample(2000, seed=1)
    assert samples[:, 0].min() >= 2.0
    assert samples[:, 0].max() <= 4.0


def test_a_sideband_model_says_something_of_the_region_between():
    x = np.array([[3.0, 0.4]])
    assert np.isfinite(WHOLE.density("sideband").log_prob_conditional(x)).all()


def test_a_model_that_saw_too_few_events_taints_the_run():
    learner = learned(alone(replace(WINDOW, preprocess=PreprocessOverrides(fit_events=5000))))
    assert "fitted on" in learner.tainted[0]
    assert learner.density("window") is not None


def test_a_model_without_an_event_taints_the_run_and_has_no_density():
    nothing = ModelConfig("nothing", inside=(9.95, 10.0))
    learner = learned(replace(CONFIG, models=(JOINT, nothing)))
    message = "model 'nothing': nothing was learned: none of 2000 events is in its region"
    assert learner.tainted == (message,)
    assert learner.density("nothing") is None
    assert learner.n_trained == 2000


def test_a_region_that_the_schema_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="'far': inside: expected a region with some of"):
        Learner(SCHEMA, alone(ModelConfig("far", inside=(11.0, 12.0))))


def test_replicas_scatter_as_bootstrap_samples_do():
    # The mean of m in 2,000 events scatters by 0.9 / sqrt(2000) = 0.02 TeV over samples. Five
    # replicas fix that to a third; their models add noise of their own.
    learner = learned(alone(replace(JOINT, replicas=5)))
    densities = [learner.density(replica=r) for r in range(1, 6)]
    means = [density.sample(100_000, seed=1)[:, 0].mean() for density in densities]
    assert 0.005 < np.std(means, ddof=1) < 0.1


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_torch_and_the_engine_learn_the_same(engine):
    config = replace(alone(JOINT), trainer=TrainerConfig(batch_size=128, seed=5, engine=engine))
    found = learned(config, X[:520]).models["joint"].thetas()
    expected = learned(alone(JOINT), X[:520]).models["joint"].thetas()
    np.testing.assert_allclose(found, expected, atol=2e-3)
