"""Masked networks of two hidden layers: unpacked from θ, run and differentiated.

θ holds live weights only. Here they are spread into dense matrices whose other entries are
zero, so that plain matrix products do the work; gradients are gathered back. Columns of the
first layer are the variables in their natural order, and the outputs' rows are sorted by
feature, so that nothing is permuted while it runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from onlineflows.flows.spec import BlockSpec, FlowSpec


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """The dense matrices of one block's network over V variables with O outputs.

    Args:
        weight_1: shape (H1, V).
        bias_1: shape (H1,).
        weight_2: shape (H2, H1).
        bias_2: shape (H2,).
        weight_out: shape (O, H2).
        bias_out: shape (O,).
    """

    weight_1: Tensor
    bias_1: Tensor
    weight_2: Tensor
    bias_2: Tensor
    weight_out: Tensor
    bias_out: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What a network computed for n events, kept for the way back.

    Args:
        variables: its inputs, shape (V, n).
        hidden_1: first hidden layer, shape (H1, n).
        hidden_2: second hidden layer, shape (H2, n).
        outputs: shape (O, n).
    """

    variables: Tensor
    hidden_1: Tensor
    hidden_2: Tensor
    outputs: Tensor


class DenseLayout:
    """Where each entry of θ stands in the dense matrices of all blocks.

    Args:
        spec: the architecture.
        n_rows: output rows of one target, with those that are always zero.
        parameter_rows: for each of the P parameters of a target, its row.
        device: where θ lives.
    """

    def __init__(
        self,
        spec: FlowSpec,
        *,
        n_rows: int,
        parameter_rows: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self._shapes: list[tuple[tuple[int, ...], ...]] = []
        index: list[int] = []
        offset = 0
        for block in spec.blocks:
            variables = spec.n_features + spec.n_context
            h1, h2, out = len(block.fan_in_1), len(block.fan_in_2), n_rows * len(block.targets)
            shapes = ((h1, variables), (h1,), (h2, h1), (h2,), (out, h2), (out,))
            starts = [offset + n for n in accumulate(map(_size, shapes), initial=0)]
            index.extend(_positions(block, starts, shapes, n_rows, parameter_rows))
            self._shapes.append(shapes)
            offset = starts[-1]
        self.n_dense = offset
        self._sizes = [_size(shape) for shapes in self._shapes for shape in shapes]
        self._index = torch.tensor(index, dtype=torch.int64, device=device)

    def spread(self, theta: Tensor) -> Tensor:
        """Returns θ spread into one dense vector; differentiable by autograd."""
        return theta.new_zeros(self.n_dense).index_copy(0, self._index, theta)

    def gather(self, dense: Tensor) -> Tensor:
        """Returns the entries of a dense vector that belong to θ."""
        return dense.index_select(0, self._index)

    def layers(self, dense: Tensor) -> list[Layers]:
        """Returns the matrices of every block as views into a dense vector."""
        parts = iter(torch.split(dense, self._sizes))
        return [Layers(*(next(parts).view(s) for s in shapes)) for shapes in self._shapes]


def run(layers: Layers, variables: Tensor) -> Activations:
    """Runs a network on variables of shape (V, n)."""
    hidden_1 = torch.addmm(layers.bias_1[:, None], layers.weight_1, variables).relu()
    hidden_2 = torch.addmm(layers.bias_2[:, None], layers.weight_2, hidden_1).relu()
    outputs = torch.addmm(layers.bias_out[:, None], layers.weight_out, hidden_2)
    return Activations(variables, hidden_1, hidden_2, outputs)


def run_back(layers: Layers, seen: Activations, on_outputs: Tensor, into: Layers) -> Tensor:
    """Writes the gradients of the matrices and returns that of the first hidden layer's sums.

    Args:
        layers: the matrices.
        seen: what `run` returned.
        on_outputs: gradient with respect to the outputs, shape (O, n).
        into: dense matrices that receive the gradients.

    Returns:
        Shape (H1, n); the product of weight_1's transpose with it is the variables' gradient.
    """
    torch.mm(on_outputs, seen.hidden_2.t(), out=into.weight_out)
    torch.sum(on_outputs, 1, out=into.bias_out)
    on_2 = _through_relu(layers.weight_out.t() @ on_outputs, seen.hidden_2)
    torch.mm(on_2, seen.hidden_1.t(), out=into.weight_2)
    torch.sum(on_2, 1, out=into.bias_2)
    on_1 = _through_relu(layers.weight_2.t() @ on_2, seen.hidden_1)
    torch.mm(on_1, seen.variables.t(), out=into.weight_1)
    torch.sum(on_1, 1, out=into.bias_1)
    return on_1


def _through_relu(gradient: Tensor, value: Tensor) -> Tensor:
    """Returns the gradient where the unit was active, zero elsewhere."""
    # The operation behind relu's own derivative: one sweep, where a comparison and a choice take
    # two and ten times as long.
    through: Tensor = torch.ops.aten.threshold_backward(gradient, value, 0)
    return through


def _size(shape: tuple[int, ...]) -> int:
    """Returns the number of entries of a shape."""
    size = 1
    for n in shape:
        size *= n
    return size


def _positions(
    block: BlockSpec,
    starts: list[int],
    shapes: tuple[tuple[int, ...], ...],
    n_rows: int,
    parameter_rows: tuple[int, ...],
) -> Iterator[int]:
    """Yields the dense position of each entry of a block's θ, in θ's order."""
    variables, h1, h2 = shapes[0][1], shapes[2][1], shapes[4][1]
    for row, fan_in in enumerate(block.fan_in_1):
        yield from (starts[0] + row * variables + v for v in block.inputs[:fan_in])
    yield from range(starts[1], starts[2])
    for row, fan_in in enumerate(block.fan_in_2):
        yield from range(starts[2] + row * h1, starts[2] + row * h1 + fan_in)
    yield from range(starts[3], starts[4])
    rank = {target: place for place, target in enumerate(sorted(block.targets))}
    for target, fan_in in zip(block.targets, block.fan_in_out, strict=True):
        for parameter in parameter_rows:
            start = starts[4] + (rank[target] * n_rows + parameter) * h2
            yield from range(start, start + fan_in)
    for target in block.targets:
        yield from (starts[5] + rank[target] * n_rows + p for p in parameter_rows)
