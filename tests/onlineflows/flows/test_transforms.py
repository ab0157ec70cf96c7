"""The elementwise transforms: closed-form derivatives, edges, and rounding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from onlineflows.flows.affine import Affine
from onlineflows.flows.elementwise import Elementwise, soft_clamp
from onlineflows.flows.spline import Spline

BOUND = 3.0
TRANSFORMS = [
    pytest.param(Affine(), id="affine"),
    pytest.param(Spline(2, BOUND), id="spline-2"),
    pytest.param(Spline(7, BOUND), id="spline-7"),
]
every_transform = pytest.mark.parametrize("transform", TRANSFORMS)


def random_rows(
    transform: Elementwise, targets: int, n: int, *, scale: float = 1.0, seed: int = 1
) -> Tensor:
    """Rows for the targets, zero where a row is no parameter."""
    generator = torch.Generator().manual_seed(seed)
    shape = (targets, transform.n_rows, n)
    rows = torch.zeros(shape, dtype=torch.float64)
    live = list(transform.parameter_rows)
    rows[:, live] = scale * torch.randn(
        targets, len(live), n, generator=generator, dtype=torch.float64
    )
    return rows


def values(targets: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return 2 * torch.randn(targets, n, generator=generator, dtype=torch.float64)


@every_transform
def test_pulling_back_is_autograd(transform):
    rows = random_rows(transform, 3, 200).requires_grad_()
    x = values(3, 200).requires_grad_()
    on_y, on_log = values(3, 200), values(1, 200)[0]
    point = transform.linearise(rows, x)
    loss = (on_y * point.y).sum() + (on_log * point.log_abs_det).sum()
    truth_x, truth_rows = torch.autograd.grad(loss, (x, rows))
    with torch.no_grad():
        on_x, on_rows = transform.linearise(rows, x).pull_back(on_y, on_log)
    live = list(transform.parameter_rows)
    torch.testing.assert_close(on_x, truth_x, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(on_rows[:, live], truth_rows[:, live], rtol=1e-10, atol=1e-11)


@every_transform
def test_the_log_slope_is_the_derivative(transform):
    rows, x = random_rows(transform, 3, 200), values(3, 200).requires_grad_()
    point = transform.linearise(rows, x)
    (slope,) = torch.autograd.grad(point.y.sum(), x)
    torch.testing.assert_close(point.log_abs_det.detach(), slope.log(), rtol=1e-9, atol=1e-11)


@every_transform
def test_the_transform_increases(transform):
    rows = random_rows(transform, 1, 1, scale=3.0).expand(-1, -1, 4001)
    y = transform.linearise(rows, torch.linspace(-4, 4, 4001, dtype=torch.float64)[None]).y
    assert bool((y.diff(dim=1) > 0).all())


@every_transform
def test_the_inverse_undoes_the_transform(transform):
    rows, x = random_rows(transform, 3, 200), values(3, 200)
    torch.testing.assert_close(
        transform.inverse(rows, transform.linearise(rows, x).y), x, rtol=1e-10, atol=1e-10
    )


def test_zero_rows_make_a_spline_the_identity():
    spline = Spline(5, BOUND)
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)[None]
    point = spline.linearise(torch.zeros(1, spline.n_rows, 101, dtype=torch.float64), x)
    torch.testing.assert_close(point.y, x, rtol=1e-14, atol=1e-15)
    assert float(point.log_abs_det.abs().max()) < 1e-14


def test_a_spline_joins_its_tails_smoothly():
    spline = Spline(5, BOUND)
    rows = random_rows(spline, 1, 1).expand(-1, -1, 4)
    step = 1e-9
    x = torch.tensor([-BOUND - step, -BOUND + step, BOUND - step, BOUND + step]).double()[None]
    point = spline.linearise(rows, x)
    torch.testing.assert_close(point.y, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(point.log_abs_det, torch.zeros_like(x), rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    bins=st.integers(2, 32),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_inverse_of_a_spline_stays_inside_and_finite(bins, scale, seed, dtype):
    spline = Spline(bins, BOUND)
    rows = random_rows(spline, 1, 500, scale=scale, seed=seed).to(dtype)
    y = torch.linspace(-BOUND, BOUND, 500, dtype=dtype)[None]
    x = spline.inverse(rows, y)
    assert bool(torch.isfinite(x).all())
    assert float(x.abs().max()) <= BOUND * (1 + 1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(bins=st.integers(2, 32), seed=st.integers(0, 1000))
def test_single_precision_splines_have_finite_gradients_at_their_knots(bins, seed):
    spline = Spline(bins, BOUND)
    rows = random_rows(spline, 1, 1, scale=100.0, seed=seed).float().expand(-1, -1, bins + 1)
    widths, _ = soft_clamp(rows[0, :bins, 0], 3.453877639491069)
    knots = -BOUND + 2 * BOUND * torch.cumsum(torch.softmax(widths, 0), 0)
    x = torch.cat((torch.tensor([-BOUND]), knots))[None]
    point = spline.linearise(rows, x)
    on_x, on_rows = point.pull_back(torch.ones_like(x), torch.ones(bins + 1))
    for tensor in (point.y, point.log_abs_det, on_x, on_rows):
        assert bool(torch.isfinite(tensor).all())


def test_the_soft_clamp_keeps_within_its_range():
    clamped, _ = soft_clamp(torch.tensor([-1e9, 0.0, 1e-3, 1e9]), 2.0)
    torch.testing.assert_close(clamped, torch.tensor([-2.0, 0.0, 1e-3, 2.0]), rtol=1e-3, atol=0)
