"""ONNX models against the densities that they were made of, through ONNX Runtime."""

import json
import logging
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from onlineflows.density import Density
from onlineflows.errors import ConfigError
from onlineflows.export.onnx_file import (
    AGREEMENT,
    OnnxModel,
    checked_events,
    log_prob_model,
    run_model,
    sample_model,
)
from onlineflows.mixture import Mixture
from onlineflows.settings import FlowConfig

# Tracing takes torch half a minute, more on a busy machine.
pytestmark = pytest.mark.timeout(1200)

FLOW = FlowConfig(blocks=2, hidden=8, bins=4)
FAMILIES = ("autoregressive", "coupling")


def test_what_a_model_is_tried_with_has_corners_and_outsiders(density) -> None:
    p = density(FLOW)
    x = checked_events(p)
    inside = p.schema.in_support(x)
    on_edge = (x == p.schema.low) | (x == p.schema.high)
    assert on_edge[inside].any()
    assert np.count_nonzero(~inside) == 5
    assert np.isneginf(p.log_prob(x)[~inside]).all()


@pytest.mark.parametrize("library", ["onnx", "onnxscript"])
def test_without_the_libraries_the_extra_is_named(
    library: str, density, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"extra 'onnx'.*{library}.*onlineflows\[onnx\]"):
        log_prob_model(density(FLOW), {})


@pytest.fixture(scope="module", params=FAMILIES)
def p(request: pytest.FixtureRequest, density: Callable[..., Density]) -> Density:
    return density(FlowConfig(request.param, blocks=2, hidden=8, bins=4))


@pytest.fixture(scope="module")
def log_prob(p: Density) -> OnnxModel:
    return log_prob_model(p, {"run_name": "test"})


@pytest.fixture(scope="module")
def sampler(p: Density) -> OnnxModel:
    return sample_model(p, {"run_name": "test"})


@pytest.mark.slow
def test_log_p_agrees_at_edges_and_outside_too(p, log_prob, trying_events) -> None:
    joint, resonant = run_model(log_prob.content, "events", trying_events)
    inside = p.schema.in_support(trying_events)
    np.testing.assert_allclose(joint, p.log_prob(trying_events), atol=AGREEMENT, rtol=1e-6)
    np.testing.assert_allclose(
        resonant[inside], p.log_prob_resonant(trying_events[inside]), atol=AGREEMENT, rtol=1e-6
    )
    assert np.isneginf(joint[~inside]).all()
    assert np.isneginf(resonant[~inside]).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_model_takes_any_number_of_events(n, p, log_prob, sampler) -> None:
    assert run_model(log_prob.content, "events", np.ones((n, 4)))[0].shape == (n,)
    assert run_model(sampler.content, "noise", np.ones((n, 4), np.float32))[0].shape == (n, 4)


@pytest.mark.slow
def test_samples_agree(p, sampler) -> None:
    noise = torch.randn(3000, 4, generator=torch.Generator().manual_seed(7))
    events, is_event = run_model(sampler.content, "noise", noise.numpy())
    with torch.no_grad():
        expected = p.preprocessing.inverse(p.flow.inverse(noise).numpy())
    assert is_event.mean() > 0.99
    width = np.diff(np.quantile(expected, [0.16, 0.84], axis=0), axis=0)[0]
    apart = np.abs(events - expected)[is_event]
    assert (apart <= AGREEMENT * (width + np.abs(expected[is_event]))).all()


@pytest.mark.slow
def test_a_model_says_what_it_is_of_and_nothing_of_the_machine(log_prob, sampler) -> None:
    import onnx

    for model in (log_prob, sampler):
        loaded = onnx.load_from_string(model.content)
        properties = {entry.key: entry.value for entry in loaded.metadata_props}
        about = json.loads(properties["onlineflows"])
        assert (about["run_name"], about["schema"]["features"][0]["unit"]) == ("test", "TeV")
        assert not any(node.metadata_props for node in loaded.graph.node)
        assert b".py" not in model.content


@pytest.mark.slow
def test_a_model_is_written_with_its_agreement(log_prob, sampler) -> None:
    for model in (log_prob, sampler):
        assert model.n_checked >= 1900
        assert model.difference < AGREEMENT


@pytest.mark.slow
def test_a_mean_of_densities_is_a_model_too(density, trying_events) -> None:
    mixture = Mixture([density(FLOW, seed) for seed in (1, 2)])
    model = log_prob_model(mixture, {})
    joint, _ = run_model(model.content, "events", trying_events)
    np.testing.assert_allclose(joint, mixture.log_prob(trying_events), atol=AGREEMENT, rtol=1e-6)


@pytest.mark.slow
def test_a_model_that_differs_is_reported(
    density, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    p = density(FlowConfig(blocks=1, hidden=4, bins=2))
    true = p.log_prob
    monkeypatch.setattr(p, "log_prob", lambda x: true(x) + 0.01)
    with caplog.at_level(logging.WARNING):
        model = log_prob_model(p, {})
    assert model.difference == pytest.approx(0.01, abs=1e-4)
    assert "differ from the snapshot's by more than 0.0001 nats" in caplog.text
