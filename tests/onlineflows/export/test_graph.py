"""The traceable form of a density is the density: the same numbers by other operations."""

import itertools

import numpy as np
import pytest
import torch

from onlineflows.export.graph import LogProbGraph, SampleGraph
from onlineflows.mixture import Mixture
from onlineflows.settings import FlowConfig

FLOWS = [
    FlowConfig(family, transform, blocks=2, hidden=8, bins=4)
    for family, transform in itertools.product(("autoregressive", "coupling"), ("spline", "affine"))
]


def evaluated(graph: LogProbGraph, x: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in graph(torch.from_numpy(x))]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda f: f"{f.family}-{f.transform}")
def test_log_p_is_that_of_the_density_at_edges_and_outside_too(
    flow: FlowConfig, density, trying_events: np.ndarray
) -> None:
    p = density(flow)
    joint, resonant = evaluated(LogProbGraph([p]), trying_events)
    assert np.isneginf(joint[-8:]).all()
    np.testing.assert_allclose(joint, p.log_prob(trying_events), atol=1e-4, rtol=1e-6)
    expected = p.log_prob_resonant(trying_events)
    # The density's own needs m alone; here an event is inside as a whole or not at all.
    inside = p.schema.in_support(trying_events)
    np.testing.assert_allclose(resonant[inside], expected[inside], atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda f: f"{f.family}-{f.transform}")
def test_samples_are_those_of_the_density(flow: FlowConfig, density) -> None:
    p = density(flow)
    noise = torch.randn(2000, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        events, is_event = (output.numpy() for output in SampleGraph(p)(noise))
        expected = p.preprocessing.inverse(p.flow.inverse(noise).numpy())
    np.testing.assert_array_equal(is_event, p.schema.in_support(events))
    width = np.diff(np.quantile(expected, [0.16, 0.84], axis=0), axis=0)[0]
    apart = np.abs(events - expected)[is_event]
    assert (apart <= 1e-4 * (width + np.abs(expected[is_event]))).all()


def test_a_sample_that_overflows_is_no_event(density) -> None:
    noise = torch.full((1, 4), 1e30)
    with torch.no_grad():
        _, is_event = SampleGraph(density(FLOWS[0]))(noise)
    assert not is_event.item()


def test_the_mean_of_densities_is_the_mixture(density, trying_events: np.ndarray) -> None:
    members = [density(FLOWS[0], seed) for seed in (1, 2, 3)]
    joint, resonant = evaluated(LogProbGraph(members), trying_events)
    mixture = Mixture(members)
    inside = mixture.schema.in_support(trying_events)
    np.testing.assert_allclose(joint, mixture.log_prob(trying_events), atol=1e-4, rtol=1e-6)
    expected = mixture.log_prob_resonant(trying_events)
    np.testing.assert_allclose(resonant[inside], expected[inside], atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_any_number_of_events_will_do(n: int, density, trying_events: np.ndarray) -> None:
    joint, resonant = evaluated(LogProbGraph([density(FLOWS[0])]), trying_events[:n])
    assert joint.shape == resonant.shape == (n,)
