"""The fastest matrix products that torch's libraries reach here: the ceiling of every flow.

A flow's work is matrix products of a few hundred events by some tens of units. No product of a
library's reaches more than its large square ones do, so these are the ceiling. Which library is
asked matters: MKL leaves AVX-512 unused on AMD's processors, where oneDNN doesn't.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from onlineflows.bench.local import LocalContender
from onlineflows.bench.timing import Effort, Rate, interleave

SIZES = ((2048, 2048, 2048), (1024, 1024, 1024), (4096, 256, 256))
"""Events, inputs, outputs of a product."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The best product on one thread.

    Args:
        dtype: "float32" or "bfloat16"; sums are float32 either way.
        gflops: 1e9 floating-point operations per second, fastest round.
        median_gflops: of the same product, the median round.
        product: which it is.
    """

    dtype: str
    gflops: float
    median_gflops: float
    product: str


def measure_ceilings(
    effort: Effort, sizes: tuple[tuple[int, int, int], ...] = SIZES
) -> dict[str, Ceiling]:
    """Returns the ceiling of each precision, all products interleaved.

    Taking the fastest round of the fastest product makes every fraction of it a lower bound.
    """
    contenders = {}
    for size in sizes:
        n, k, m = size
        for (dtype, name), call in _products(n, k, m).items():
            # The rate's "events" are operations here.
            contender = LocalContender(call, n_events=2 * n * k * m, threads=1)
            contenders[f"{dtype} {name} {n} x {k} x {m}"] = contender
    rates = interleave(contenders, effort)
    return {dtype: _best(dtype, rates) for dtype in ("float32", "bfloat16")}


def _best(dtype: str, rates: dict[str, Rate]) -> Ceiling:
    found = {name: rate for name, rate in rates.items() if name.startswith(dtype)}
    name = max(found, key=lambda name: found[name].best)
    best = found[name]
    return Ceiling(dtype, best.best / 1e9, best.events_per_s / 1e9, name.removeprefix(f"{dtype} "))


def _products(n: int, k: int, m: int) -> dict[tuple[str, str], Callable[[], Tensor]]:
    """The ways to multiply (n, k) by (k, m), by precision and name."""
    a, weight, bias = torch.randn(n, k), torch.randn(m, k), torch.zeros(m)
    transposed = weight.t().contiguous()
    a_half, half, transposed_half = a.bfloat16(), weight.bfloat16(), transposed.bfloat16()
    bias_half = bias.bfloat16()
    linear = torch.nn.functional.linear
    products: dict[tuple[str, str], Callable[[], Tensor]] = {
        ("float32", "mm"): lambda: torch.mm(a, transposed),
        ("float32", "linear"): lambda: linear(a, weight, bias),
        ("bfloat16", "mm"): lambda: torch.mm(a_half, transposed_half),
        ("bfloat16", "linear"): lambda: linear(a_half, half, bias_half),
    }
    pointwise = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if pointwise is not None:
        products["float32", "oneDNN linear"] = lambda: pointwise(a, weight, bias, "none", [], "")
    return products
