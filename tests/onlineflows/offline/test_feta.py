"""FETA's ways to move events, on densities in closed form."""

from typing import Any

import numpy as np
import pytest
import torch

from onlineflows.bench.feta import (
    IDENTITY,
    PENALTY,
    UNMOVED,
    WAYS,
    Samples,
    Setting,
    measure,
    random_theta,
)
from onlineflows.errors import ConfigError, DataError
from onlineflows.flows import FlowConfig, TorchFlow, build_spec, initial_theta
from onlineflows.offline.feta import (
    Bands,
    Scaling,
    distances,
    move_by_transport,
    move_through_bases,
    transport_nll,
)
from onlineflows.offline.network_test import NetworkConfig
from onlineflows.settings import OptimiserConfig

SPEC = build_spec(FlowConfig(transform="affine", blocks=1, hidden=4), 2, 1)


def events(n: int = 64, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=generator), torch.rand(n, 1, generator=generator)


def identity() -> TorchFlow:
    return TorchFlow(SPEC, initial_theta(SPEC, torch.Generator().manual_seed(1)))


def shifted(by: float) -> TorchFlow:
    """The flow z = x - by: the density of normal variables around `by`."""
    flow = identity()
    # The biases of the last layer: for each target its shift, then its slope.
    bias = next(entry for entry in SPEC.layout() if entry.name.endswith("bias_out"))
    flow.theta[bias.offset : bias.offset + bias.shape[0] : 2] = -by
    return flow


def test_the_double_base_adds_the_shift_between_two_normals() -> None:
    x, context = events()

    moved = move_through_bases(shifted(0.5), shifted(2.0), x, context)

    torch.testing.assert_close(moved, x + 1.5)


def test_the_identity_moves_nothing() -> None:
    x, context = events()

    moved = move_by_transport(identity(), x, context)

    assert distances(x.numpy(), moved.numpy()).max() < 1e-6


def test_a_transport_brings_reference_events_to_the_target() -> None:
    x, context = events()

    torch.testing.assert_close(move_by_transport(shifted(1.5), x, context), x + 1.5)


def test_the_loss_is_the_normal_likelihood_of_the_target() -> None:
    x, context = events()

    # The base is around 1/2; target events are taken back by 2 before they are judged.
    found = transport_nll(shifted(2.0), shifted(0.5), x, context)

    expected = (0.5 * (x - 2.5) ** 2 + 0.5 * np.log(2 * np.pi)).sum(1).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("shift", "added"), [(0.0, 0.0), (2.0, 0.1 * 2 * 2.0**2)])
def test_the_penalty_is_the_mean_squared_movement(shift: float, added: float) -> None:
    x, context = events()

    losses = [
        float(transport_nll(shifted(shift), identity(), x, context, penalty=alpha))
        for alpha in (0.0, 0.1)
    ]

    assert losses[1] - losses[0] == pytest.approx(added, abs=1e-4)


def test_the_loss_can_be_differentiated_through_the_base() -> None:
    x, context = events()
    leaf = random_theta(SPEC, torch.Generator().manual_seed(2)).double().requires_grad_()
    base = TorchFlow(SPEC, random_theta(SPEC, torch.Generator().manual_seed(3)).double())

    def loss(theta: torch.Tensor) -> torch.Tensor:
        flow = TorchFlow(SPEC, theta)
        return transport_nll(flow, base, x.double(), context.double(), penalty=0.1)

    (slope,) = torch.autograd.grad(loss(leaf), leaf)

    direction = torch.randn(len(leaf), generator=torch.Generator().manual_seed(4)).double()
    with torch.no_grad():
        rise = (loss(leaf + 1e-6 * direction) - loss(leaf - 1e-6 * direction)) / 2e-6
    assert float(slope @ direction) == pytest.approx(float(rise), rel=1e-4)


def test_a_random_start_is_far_from_the_identity() -> None:
    x, context = events()
    flow = TorchFlow(SPEC, random_theta(SPEC, torch.Generator().manual_seed(1)))

    assert distances(x.numpy(), flow.forward(x, context)[0].numpy()).mean() > 0.1


def test_bands_cover_their_range_once() -> None:
    bands = Bands()
    m = np.linspace(3.0, 4.0, 1001)[:-1]

    held = np.stack([bands.holds(name, m) for name in bands.intervals])

    assert (held.sum(axis=0) == 1).all()
    assert bands.intervals["SR"] == (3.4, 3.6)
    np.testing.assert_array_equal(
        bands.in_sidebands(np.array([3.1, 3.3, 3.5, 3.7, 3.9])), [0, 1, 0, 1, 0]
    )


def test_bands_that_overlap_are_refused() -> None:
    with pytest.raises(ConfigError, match="ascending"):
        Bands(half_widths=(0.3, 0.1, 0.5))


def test_scaling_ends_at_three_and_has_an_inverse() -> None:
    x = np.random.default_rng(1).normal(size=(100, 2))
    scaling = Scaling.fit(x)

    scaled = scaling.forward(x)

    np.testing.assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [[-3] * 2, [3] * 2])
    np.testing.assert_allclose(scaling.inverse(scaled), x, atol=1e-6)


def test_constant_features_cannot_be_scaled() -> None:
    with pytest.raises(DataError, match="vary"):
        Scaling.fit(np.zeros((5, 2)))


@pytest.mark.slow
def test_every_way_moves_a_shifted_normal_to_the_target() -> None:
    # Not the study's seed: events of m = 3 + u would go to halves by the same u.
    rng = np.random.default_rng(11)

    def sample(n: int, mean: float) -> Any:
        m = rng.uniform(3.0, 4.0, n)
        return np.column_stack([m, rng.normal(mean, 0.5, (n, 2))]).astype(np.float32)

    samples = Samples(("m", "a", "b"), sample(8000, 0.0), sample(8000, 0.4))
    setting = Setting(
        flow=FlowConfig(blocks=2, hidden=16, bins=6, bound=3.5),
        optimiser=OptimiserConfig(learning_rate=5e-3),
        epochs=20,
        base_epochs=20,
        network=NetworkConfig(epochs=5),
    )

    rows = measure(lambda: samples, setting, {"seed": 1})

    in_region = {row["way"]: row for row in rows if row["band"] == "SR"}
    assert in_region[UNMOVED]["auc"] > 0.75
    for way in WAYS[1:]:
        # 1,600 events of each: the null width is 0.01.
        assert abs(in_region[way]["auc"] - 0.5) < 0.06, way
    assert in_region[IDENTITY]["distance"] < 0.9
    assert in_region[PENALTY]["distance"] < 0.9
