"""What is measured: architectures, batch sizes, and the floating-point operations of an event."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from onlineflows.bench.timing import Verb
from onlineflows.flows.spec import BlockSpec, FlowSpec, build_spec
from onlineflows.settings import FlowConfig

FLOPS_PER_WEIGHT: dict[Verb, int] = {"train": 6, "logprob": 2, "sample": 2}
"""A product and a sum forward, twice as many backward. Sampling computes each unit once."""

MAIN_CASE = "spline AR"
"""The case on which everything that isn't about architectures is measured."""


@dataclass(frozen=True, slots=True)
class Case:
    """One architecture.

    Args:
        flow: its name in the tables.
        config: family, transform and sizes.
        n_features: features d of an event.
        n_context: variables c that the density is conditional on.
    """

    flow: str
    config: FlowConfig = field(default_factory=FlowConfig)
    n_features: int = 5
    n_context: int = 1

    def spec(self) -> FlowSpec:
        """Returns the specification with the peers' masks.

        Our own coupling flows treat the resonant feature apart; the peers' alternate halves of all
        features, and so do the contenders here.
        """
        if self.config.family == "autoregressive":
            return build_spec(self.config, self.n_features, self.n_context)
        blocks = tuple(self._coupling_block(number) for number in range(self.config.blocks))
        bins, bound = self.config.bins, float(self.config.bound)
        return FlowSpec(self.n_features, self.n_context, self.config.transform, bins, bound, blocks)

    def kept(self, number: int) -> tuple[int, ...]:
        """Returns the features that a coupling layer leaves as they are: every second one."""
        return tuple(range(number % 2, self.n_features, 2))

    def order(self, number: int) -> tuple[int, ...]:
        """Returns the order of the features in an autoregressive block, as `build_spec` has it."""
        others = tuple(range(1, self.n_features))
        return 0, *(others if number % 2 == 0 else others[::-1])

    def _coupling_block(self, number: int) -> BlockSpec:
        kept, hidden = self.kept(number), self.config.hidden
        context = range(self.n_features, self.n_features + self.n_context)
        inputs = (*kept, *context)
        return BlockSpec(
            inputs=inputs,
            targets=tuple(i for i in range(self.n_features) if i not in kept),
            fan_in_1=(len(inputs),) * hidden,
            fan_in_2=(hidden,) * hidden,
            fan_in_out=(hidden,) * (self.n_features - len(kept)),
        )

    def draw(self, n: int, seed: int = 1) -> tuple[Tensor, Tensor | None]:
        """Returns standard normal events, shape (n, d), and their context, (n, c) or None."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, self.n_features, generator=generator)
        if not self.n_context:
            return x, None
        return x, torch.randn(n, self.n_context, generator=generator)


CASES = {
    case.flow: case
    for case in (
        Case("spline AR", FlowConfig(blocks=5, hidden=64, bins=8)),
        Case("affine AR", FlowConfig(transform="affine", blocks=5, hidden=64)),
        Case("spline coupling", FlowConfig("coupling", blocks=6, hidden=64, bins=8)),
        Case("affine coupling", FlowConfig("coupling", "affine", blocks=8, hidden=64)),
        Case("default", FlowConfig(), n_context=0),
    )
}
"""5 features and 1 context variable each; the default flow has no context."""


def n_weights(spec: FlowSpec) -> int:
    """Returns how many live weights multiply something for every event: θ without its biases."""
    return sum(
        sum(block.fan_in_1) + sum(block.fan_in_2) + spec.n_outputs * sum(block.fan_in_out)
        for block in spec.blocks
    )


def flops_per_event(spec: FlowSpec, verb: Verb) -> int:
    """Returns the floating-point operations that an event needs in matrix products alone.

    Masked weights aren't counted, whether or not an implementation multiplies by their zeros;
    splines, activations and the optimiser aren't, either.
    """
    return FLOPS_PER_WEIGHT[verb] * n_weights(spec)
