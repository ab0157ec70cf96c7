"""θ as the kernel reads it: padded dense matrices, and tables of who is where.

Each block occupies the same stretch of the packed vector: first layer (V, H), its biases (H),
second layer (H, H), its biases (H), last layer (H, Q), its biases (Q). Matrices stand input-major;
the first layer's biases so are one more row of it, for a variable that is always 1. The columns of
the last layer are the 3 K - 1 parameters of the first target's spline, those of the second, and so
on. H, the hidden units, and Q, the columns, are rounded up to what the matrix units take; the
padding is zero.

This module holds plain torch: all of it is checked without a GPU.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from onlineflows.flows.spec import BlockSpec, FlowSpec

SMALLEST_EDGE = 16
COLUMNS_AT_ONCE = 64
"""Columns of the last layer that the kernel multiplies together: Q is a multiple of it."""


@dataclass(frozen=True, slots=True)
class PackedShape:
    """Sizes of the packed vector.

    Args:
        variables: features and context V.
        hidden: padded hidden units H.
        columns: padded columns Q of the last layer.
        targets: targets of the block that has most of them.
        blocks: number of blocks.
    """

    variables: int
    hidden: int
    columns: int
    targets: int
    blocks: int

    @property
    def bias_1(self) -> int:
        """Offset of the first layer's biases in a block."""
        return self.variables * self.hidden

    @property
    def weight_2(self) -> int:
        """Offset of the second layer."""
        return self.bias_1 + self.hidden

    @property
    def bias_2(self) -> int:
        """Offset of the second layer's biases."""
        return self.weight_2 + self.hidden**2

    @property
    def weight_out(self) -> int:
        """Offset of the last layer."""
        return self.bias_2 + self.hidden

    @property
    def bias_out(self) -> int:
        """Offset of the last layer's biases."""
        return self.weight_out + self.hidden * self.columns

    @property
    def block_size(self) -> int:
        """Numbers in one block."""
        return self.bias_out + self.columns

    @property
    def size(self) -> int:
        """Numbers in all blocks."""
        return self.blocks * self.block_size


def packed_shape(spec: FlowSpec) -> PackedShape:
    """Returns the sizes that hold every block of a specification."""
    targets = max(len(block.targets) for block in spec.blocks)
    chunks = -(-targets * spec.n_outputs // COLUMNS_AT_ONCE)
    return PackedShape(
        variables=spec.n_features + spec.n_context,
        hidden=power_of_two(max(len(block.fan_in_1) for block in spec.blocks), least=SMALLEST_EDGE),
        columns=chunks * COLUMNS_AT_ONCE,
        targets=targets,
        blocks=len(spec.blocks),
    )


def packed_index(spec: FlowSpec) -> Tensor:
    """Returns the place of each entry of θ in the packed vector, int64, (n_parameters,)."""
    shape = packed_shape(spec)
    places: list[int] = []
    for number, block in enumerate(spec.blocks):
        places.extend(number * shape.block_size + place for place in _places(spec, block, shape))
    return torch.tensor(places, dtype=torch.int64)


def block_tables(spec: FlowSpec) -> Tensor:
    """Returns what the kernel must know of each block, int32, (blocks + 1, 1 + T + V + d).

    Columns: the number of targets; the targets (T of them, -1 beyond); for each of the V variables
    the number of blocks after which it had its present value; for each feature 1 if it is a
    target, else 0. The last row is the state after the last block.
    """
    shape = packed_shape(spec)
    version = [0] * shape.variables
    rows = []
    for number, block in enumerate(spec.blocks):
        targets = [*block.targets, *([-1] * (shape.targets - len(block.targets)))]
        flags = [int(f in block.targets) for f in range(spec.n_features)]
        rows.append([len(block.targets), *targets, *version, *flags])
        for target in block.targets:
            version[target] = number + 1
    rows.append([0, *([-1] * shape.targets), *version, *([0] * spec.n_features)])
    return torch.tensor(rows, dtype=torch.int32)


def power_of_two(n: int, *, least: int = 1) -> int:
    """Returns the smallest power of two that is neither below n nor below another one."""
    return max(least, 1 << (n - 1).bit_length())


def _places(spec: FlowSpec, block: BlockSpec, shape: PackedShape) -> Iterator[int]:
    """Yields the place of each entry of a block's θ within the block, in θ's order."""
    h, q = shape.hidden, shape.columns
    for unit, fan_in in enumerate(block.fan_in_1):
        yield from (variable * h + unit for variable in block.inputs[:fan_in])
    yield from (shape.bias_1 + unit for unit in range(len(block.fan_in_1)))
    for unit, fan_in in enumerate(block.fan_in_2):
        yield from (shape.weight_2 + below * h + unit for below in range(fan_in))
    yield from (shape.bias_2 + unit for unit in range(len(block.fan_in_2)))
    for target, fan_in in enumerate(block.fan_in_out):
        for parameter in range(spec.n_outputs):
            column = target * spec.n_outputs + parameter
            yield from (shape.weight_out + unit * q + column for unit in range(fan_in))
    yield from (shape.bias_out + c for c in range(len(block.targets) * spec.n_outputs))
