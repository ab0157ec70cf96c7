"""Contenders in this process: flows of ours, and flows of torch libraries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from onlineflows.bench.cases import Case
from onlineflows.bench.timing import Contender, Slot, Verb, timed
from onlineflows.engine import EngineFlow, Precision, adam_step
from onlineflows.engine.steps import Rates
from onlineflows.flows import Flow, TorchFlow, initial_theta

LEARNING_RATE = 1e-5
"""Small: the flow that is timed stays about what it was."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a flow of ours is computed.

    Args:
        implementation: "engine" or "torch".
        dtype: of the products of a gradient step; all else is in float32.
    """

    implementation: Literal["engine", "torch"]
    dtype: Precision = "float32"


class LocalContender(Contender):
    """A contender in this process.

    Args:
        call: handles `n_events` events.
        n_events: events of one call.
        threads: given to torch for its turns.
    """

    def __init__(self, call: Callable[[], object], *, n_events: int, threads: int) -> None:
        super().__init__(n_events, threads)
        self._call = call

    def run(self, n_calls: int) -> Slot:
        """Calls it and returns what that took."""
        torch.set_num_threads(self.threads)
        return timed(self._call, n_calls)


@dataclass(frozen=True, slots=True)
class TorchPeer:
    """A flow of a torch library.

    Args:
        module: its parameters.
        log_prob: log densities, shape (n,), of events and context.
        sample: n draws given context.
    """

    module: nn.Module
    log_prob: Callable[[Tensor, Tensor | None], Tensor]
    sample: Callable[[int, Tensor | None], Tensor]


def our_flow(case: Case, way: Way, threads: int) -> Flow:
    """Returns a flow of ours, away from the identity."""
    spec = case.spec()
    generator = torch.Generator().manual_seed(1)
    theta = initial_theta(spec, generator)
    theta += 0.02 * torch.randn(theta.shape, generator=generator)
    if way.implementation == "torch":
        return TorchFlow(spec, theta)
    return EngineFlow(spec, theta, threads=threads, precision=way.dtype)


def our_contender(case: Case, way: Way, verb: Verb, *, batch: int, threads: int) -> LocalContender:
    """Returns a flow of ours as a contender."""
    call = our_call(our_flow(case, way, threads), case, verb, batch)
    return LocalContender(call, n_events=batch, threads=threads)


def our_call(flow: Flow, case: Case, verb: Verb, batch: int) -> Callable[[], object]:
    """Returns what a flow of ours does with a batch."""
    x, context = case.draw(batch)
    if verb == "logprob":
        return torch.no_grad()(lambda: flow.log_prob(x, context))
    if verb == "sample":
        generator = torch.Generator().manual_seed(2)
        return lambda: flow.sample(batch, context, generator=generator)
    if isinstance(flow, EngineFlow):
        return _engine_step(flow, x, context)
    parameter = nn.Parameter(flow.theta)
    optimiser = torch.optim.Adam([parameter], lr=LEARNING_RATE, fused=True)

    def step() -> None:
        parameter.grad = flow.gradient(x, context).theta
        optimiser.step()

    return step


def _engine_step(flow: EngineFlow, x: Tensor, context: Tensor | None) -> Callable[[], None]:
    m, v = torch.zeros_like(flow.theta), torch.zeros_like(flow.theta)
    n_steps = 0

    def step() -> None:
        nonlocal n_steps
        n_steps += 1
        gradient = flow.gradient(x, context).theta
        adam_step(Rates(LEARNING_RATE, n_steps), gradient, flow.theta, m, v)

    return step


def peer_call(peer: TorchPeer, case: Case, verb: Verb, batch: int) -> Callable[[], object]:
    """Returns what a flow of another library does with a batch; a gradient step is by Adam."""
    x, context = case.draw(batch)
    if verb == "logprob":
        return torch.no_grad()(lambda: peer.log_prob(x, context))
    if verb == "sample":
        return torch.no_grad()(lambda: peer.sample(batch, context))
    optimiser = torch.optim.Adam(peer.module.parameters(), lr=LEARNING_RATE, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss = -peer.log_prob(x, context).mean()
        torch.autograd.backward(loss)
        optimiser.step()

    return step
