"""The architecture of a flow as plain numbers: blocks of masked networks over one vector θ.

Every family here is a chain of *blocks*. A block feeds some variables through a masked network
of two hidden layers and uses its outputs as the parameters of elementwise monotone transforms of
some features. Masks are prefixes: inputs and hidden units are sorted so that unit j of a layer
sees exactly the first ``fan_in[j]`` units of the layer below. Autoregressive (MADE, Germain et
al. 2015, 1502.03509) and coupling blocks (Dinh et al. 2017, 1605.08803) are two ways to choose
the prefixes; the torch reference and the compiled engine read the same specification.

θ holds live weights only: a weight that a mask forbids is not a parameter. For each block, in
order: the first layer's rows (row j has ``fan_in_1[j]`` weights), its biases, the second layer's
rows and biases, then for each target and each of its P parameters the last layer's row (of
``fan_in_out[target]`` weights), then all P x n_targets biases.

This module imports neither torch nor anything compiled.
"""

from dataclasses import dataclass

from onlineflows.errors import ConfigError
from onlineflows.model_settings import Transform
from onlineflows.settings import FlowConfig


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One block. Variables are numbered: features 0..d-1, context d..d+c-1.

    Args:
        inputs: the variables that the network sees, in the order of the prefixes.
        targets: the features that the block transforms, in the order of its outputs.
        fan_in_1: for each unit of the first hidden layer, how many inputs it sees; ascending.
        fan_in_2: for each unit of the second, how many units of the first; ascending.
        fan_in_out: for each target, how many units of the second; ascending.
    """

    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    fan_in_1: tuple[int, ...]
    fan_in_2: tuple[int, ...]
    fan_in_out: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ThetaEntry:
    """One row of the layout table: a named stretch of θ."""

    name: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A whole flow: sizes, transform and blocks, in the direction from data to latent."""

    n_features: int
    n_context: int
    transform: Transform
    bins: int
    bound: float
    blocks: tuple[BlockSpec, ...]

    @property
    def n_outputs(self) -> int:
        """Parameters P of one target's transform: 3 bins - 1 for a spline, 2 for affine."""
        return 3 * self.bins - 1 if self.transform == "spline" else 2

    def layout(self) -> tuple[ThetaEntry, ...]:
        """Returns the layout table of θ: six entries a block, in the order of the offsets."""
        entries: list[ThetaEntry] = []
        offset = 0
        for number, block in enumerate(self.blocks):
            p = self.n_outputs
            sizes = (
                ("weight_1", sum(block.fan_in_1)),
                ("bias_1", len(block.fan_in_1)),
                ("weight_2", sum(block.fan_in_2)),
                ("bias_2", len(block.fan_in_2)),
                ("weight_out", p * sum(block.fan_in_out)),
                ("bias_out", p * len(block.targets)),
            )
            for name, size in sizes:
                entries.append(ThetaEntry(f"block{number}.{name}", (size,), offset))
                offset += size
        return tuple(entries)

    @property
    def n_parameters(self) -> int:
        """Length of θ."""
        last = self.layout()[-1]
        return last.offset + last.shape[0]


def build_spec(config: FlowConfig, n_features: int, n_context: int = 0) -> FlowSpec:
    """Returns the specification of a flow over n_features features given n_context variables.

    The resonant feature 0 comes first in every block, so that one model gives p(m), p(x | m)
    and p(m, x).

    Example:
        >>> spec = build_spec(FlowConfig(blocks=1, hidden=4, bins=2), n_features=2)
        >>> spec.blocks[0].fan_in_1
        (1, 1, 1, 1)
        >>> spec.n_parameters
        58
    """
    if n_features < 1 or n_context < 0:
        raise ConfigError(
            f"expected n_features >= 1 and n_context >= 0; got {n_features} and {n_context}"
        )
    if config.family == "autoregressive":
        blocks = tuple(
            _autoregressive_block(config, n_features, n_context, number)
            for number in range(config.blocks)
        )
    else:
        blocks = tuple(
            block
            for number in range(config.blocks)
            for block in _coupling_blocks(config, n_features, n_context, number)
        )
    return FlowSpec(
        n_features=n_features,
        n_context=n_context,
        transform=config.transform,
        bins=config.bins,
        bound=float(config.bound),
        blocks=blocks,
    )


def _autoregressive_block(
    config: FlowConfig, n_features: int, n_context: int, number: int
) -> BlockSpec:
    """A MADE block: hidden units of degree t see the context and the first t features in order.

    Feature 0 stays first; every second block takes the others in reverse. Without context a unit of
    degree 0 would be a constant, so there are none, and feature 0's outputs are biases alone.
    """
    others = tuple(range(1, n_features))
    order = (0, *(others if number % 2 == 0 else others[::-1]))
    lowest = 0 if n_context or n_features == 1 else 1
    degrees = sorted(lowest + j % (n_features - lowest) for j in range(config.hidden))
    # Units of a degree up to t: what a unit or an output of degree t may see one layer below.
    n_up_to = [sum(d <= t for d in degrees) for t in range(n_features)]
    return BlockSpec(
        inputs=(*range(n_features, n_features + n_context), *order),
        targets=order,
        fan_in_1=tuple(n_context + t for t in degrees),
        fan_in_2=tuple(n_up_to[t] for t in degrees),
        fan_in_out=tuple(n_up_to),
    )


def _coupling_blocks(
    config: FlowConfig, n_features: int, n_context: int, number: int
) -> tuple[BlockSpec, ...]:
    """The blocks of one coupling layer; the first layer also moves the resonant feature.

    Feature 0 is transformed once, given the context alone. Of the others, alternate halves are
    transformed given the context, feature 0 and the other half.
    """
    context = tuple(range(n_features, n_features + n_context))
    halves = tuple(range(1, n_features, 2)), tuple(range(2, n_features, 2))
    given, moved = halves if number % 2 == 0 else halves[::-1]
    if not moved:
        # With two features there's only one half beside feature 0: move it in every layer.
        given, moved = moved, given
    blocks = []
    if number == 0:
        blocks.append(_dense_block(config, context, (0,)))
    if moved:
        blocks.append(_dense_block(config, (*context, 0, *given), moved))
    return tuple(blocks)


def _dense_block(
    config: FlowConfig, inputs: tuple[int, ...], targets: tuple[int, ...]
) -> BlockSpec:
    """A block whose units all see the whole layer below."""
    return BlockSpec(
        inputs=inputs,
        targets=targets,
        fan_in_1=(len(inputs),) * config.hidden,
        fan_in_2=(config.hidden,) * config.hidden,
        fan_in_out=(config.hidden,) * len(targets),
    )
