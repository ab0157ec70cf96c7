"""flowjax's flows with the sizes of ours. Runs in a process of its own: JAX has its own threads."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow

from onlineflows.bench.task import Task

LEARNING_RATE = 1e-5


def make_call(task: Task) -> Callable[[], object]:
    """Returns what flowjax does with a batch, compiled at the first call."""
    key = jr.key(0)
    flow = make_flow(task)
    x = jr.normal(key, (task.batch, task.n_features))
    context = jr.normal(jr.key(1), (task.batch, task.n_context)) if task.n_context else None
    if task.verb == "train":
        return _step(flow, x, context)
    if task.verb == "logprob":
        log_prob = eqx.filter_jit(lambda flow: paramax.unwrap(flow).log_prob(x, context))
        return lambda: jax.block_until_ready(log_prob(flow))
    shape = (task.batch,) if context is None else ()
    draw = eqx.filter_jit(lambda flow, key: paramax.unwrap(flow).sample(key, shape, context))
    return lambda: jax.block_until_ready(draw(flow, key))


def make_flow(task: Task) -> Any:
    """Returns flowjax's flow of an architecture; densities are the fast direction."""
    options: dict[str, Any] = {
        "base_dist": Normal(jnp.zeros(task.n_features)),
        "cond_dim": task.n_context or None,
        "flow_layers": task.blocks,
        "nn_width": task.hidden,
        "nn_depth": 2,
        "invert": True,
    }
    if task.transform == "spline":
        options["transformer"] = RationalQuadraticSpline(knots=task.bins, interval=task.bound)
    kind = masked_autoregressive_flow if task.family == "autoregressive" else coupling_flow
    return kind(jr.key(0), **options)


def _step(flow: Any, x: jax.Array, context: jax.Array | None) -> Callable[[], object]:
    """Returns a compiled step of Adam that keeps the state to itself."""
    parameters, static = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    optimiser = optax.adam(LEARNING_RATE)
    state = optimiser.init(parameters)

    def advance(parameters: Any, state: Any) -> tuple[Any, Any, jax.Array]:
        def loss(parameters: Any) -> jax.Array:
            whole = paramax.unwrap(eqx.combine(parameters, static))
            mean: jax.Array = -whole.log_prob(x, context).mean()
            return mean

        value, gradient = eqx.filter_value_and_grad(loss)(parameters)
        updates, state = optimiser.update(gradient, state, parameters)
        return eqx.apply_updates(parameters, updates), state, value

    step = eqx.filter_jit(advance)

    def call() -> None:
        nonlocal parameters, state
        parameters, state, value = step(parameters, state)
        jax.block_until_ready(value)

    return call
