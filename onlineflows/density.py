"""The learned density in physical units: preprocessing and flow as one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.errors import ConfigError, DataError, OnlineFlowsError
from onlineflows.flows.base import Flow
from onlineflows.preprocess import Preprocessing
from streams import EventSchema

Events = NDArray[np.floating[Any]]
Array = NDArray[np.float64]

CHUNK_EVENTS = 8192
"""Events that pass through the flow at a time: memory stays bounded whatever is asked for."""
MAX_REJECTED = 100
"""A model that has to draw more than this many times what is asked for is broken."""


class AnyDensity(Protocol):
    """What offline work needs of a density: one model's, or a mixture of several.

    Shapes and units as in `Density`.
    """

    @property
    def schema(self) -> EventSchema:
        """Names the features, their units and supports; the model's window is the resonant one's
        support.
        """
        ...

    def log_prob(self, x: Events) -> Array:
        """Returns log p(x)."""
        ...

    def log_prob_resonant(self, m: Events) -> Array:
        """Returns log p(m)."""
        ...

    def log_prob_conditional(self, x: Events) -> Array:
        """Returns log p(x' | m) of the features x' beside the resonant one."""
        ...

    def sample(self, n: int, seed: int) -> NDArray[np.float32]:
        """Returns n events drawn from p(x)."""
        ...

    def sample_given(self, m: Events, seed: int) -> NDArray[np.float32]:
        """Returns one event drawn from p(x | m) for each m."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Samples, and how many were thrown away for them.

    Args:
        x: events inside the support, shape (n, d), float32, in the schema's units.
        n_rejected: draws that were not finite.
        n_on_edge: events with a feature exactly on an edge of its support: what the model puts
            beyond it, within a millionth of the support, is there. Many where the data have an
            atom on the edge, else next to none.
    """

    x: NDArray[np.float32]
    n_rejected: int
    n_on_edge: int


class Density:
    """p(x) of events x in the schema's units; the resonant feature m is the first.

    Args:
        schema: names the features, their units and supports.
        preprocessing: from x to the flow's coordinates.
        flow: the density of those coordinates, without context.

    Raises:
        ConfigError: the three don't belong together.
    """

    def __init__(self, schema: EventSchema, preprocessing: Preprocessing, flow: Flow) -> None:
        schema.require_equal(preprocessing.schema, where="density and its preprocessing")
        if (flow.spec.n_features, flow.spec.n_context) != (schema.n_features, 0):
            raise ConfigError(
                f"expected a flow of {schema.n_features} features without context; got "
                f"{flow.spec.n_features} with {flow.spec.n_context} context variables"
            )
        self.schema = schema
        self.preprocessing = preprocessing
        self.flow = flow

    def __repr__(self) -> str:
        labels = ", ".join(feature.label for feature in self.schema.features)
        return f"<density of {labels}; {len(self.flow.theta)} parameters>"

    def log_prob(self, x: Events) -> Array:
        """Returns log p(x) in nats, every Jacobian included; -inf outside the support.

        Its integral over the support is 1, less what the model puts beyond the edges: nothing to
        speak of, but part of an atom (a detector's zeros) that the data have on an edge.

        Args:
            x: events, shape (n, d), in the schema's units.

        Returns:
            Shape (n,), float64.
        """
        return self._evaluate(x, lambda by_feature: by_feature.sum(1))

    def log_prob_resonant(self, m: Events) -> Array:
        """Returns log p(m), the marginal density of the resonant feature.

        Args:
            m: its values, shape (n,); or whole events, shape (n, d), whose first column is taken.

        Returns:
            Shape (n,), float64; -inf where m is outside its support.
        """
        values = m if m.ndim == 1 else m[:, 0]
        return self._evaluate(self._complete(values), lambda by_feature: by_feature[:, 0])

    def log_prob_conditional(self, x: Events) -> Array:
        """Returns log p(x' | m) of the features x' beside the resonant one; -inf outside.

        Args:
            x: events, shape (n, d).

        Returns:
            Shape (n,), float64.
        """
        return self._evaluate(x, lambda by_feature: by_feature[:, 1:].sum(1))

    def latent(self, x: Events) -> Array:
        """Returns what the flow maps events to: standard normal where p(x) is their density.

        Args:
            x: events inside the support, shape (n, d).

        Returns:
            Shape (n, d), float64.
        """
        result = np.empty((len(x), self.schema.n_features))
        for rows in _chunks(len(x)):
            with torch.no_grad():
                result[rows] = _to_numpy(self.flow.forward(self._to_flow(x[rows])[0])[0])
        return result

    def sample(self, n: int, seed: int) -> NDArray[np.float32]:
        """Returns n events drawn from p(x), shape (n, d), all inside the support."""
        return self.draw(n, seed).x

    def draw(self, n: int, seed: int) -> Draw:
        """Returns n events drawn from p(x), and how many draws were no events.

        Of one seed, fewer events are the first of more.

        Raises:
            OnlineFlowsError: nearly no draw is finite: the model is damaged.
        """
        generator = torch.Generator().manual_seed(seed)
        x = np.empty((n, self.schema.n_features), dtype=np.float32)
        filled = n_rejected = n_on_edge = 0
        while filled < n:
            # Always as many, so that a shorter draw is the beginning of a longer one.
            drawn, is_event = self._to_events(self.flow.sample(CHUNK_EVENTS, generator=generator))
            kept = drawn[is_event][: n - filled]
            x[filled : filled + len(kept)] = kept
            filled += len(kept)
            n_rejected += int(np.count_nonzero(~is_event))
            on_edge = (kept == self.schema.low) | (kept == self.schema.high)
            n_on_edge += int(np.count_nonzero(on_edge.any(axis=1)))
            _require_not_broken(n_rejected, n)
        return Draw(x, n_rejected, n_on_edge)

    def sample_given(self, m: Events, seed: int) -> NDArray[np.float32]:
        """Returns one event drawn from p(x | m) for each value of the resonant feature.

        Args:
            m: values of the resonant feature inside its support, shape (n,).
            seed: of the draws.

        Returns:
            Shape (n, d); column 0 is m.

        Raises:
            DataError: some m is outside the support.
            OnlineFlowsError: nearly no draw is finite: the model is damaged.
        """
        generator = torch.Generator().manual_seed(seed)
        x = self._complete(m).astype(np.float32)
        if not self.schema.in_support(x).all():
            low, high = self.schema.resonant.low, self.schema.resonant.high
            raise DataError(
                f"expected values of {self.schema.resonant.label} between {low} and {high}; got "
                f"{np.count_nonzero(~self.schema.in_support(x))} of {len(m)} outside"
            )
        for rows in _chunks(len(x)):
            self._draw_others(x[rows], generator)
        return x

    def _draw_others(self, x: NDArray[np.float32], generator: torch.Generator) -> None:
        """Replaces all columns but the first by draws given the first, in place."""
        waiting = np.arange(len(x))
        n_rejected = 0
        while len(waiting):
            z = self._to_flow(x[waiting])[0]
            latent = torch.randn(z.shape, generator=generator, dtype=z.dtype)
            with torch.no_grad():
                latent[:, 0] = self.flow.forward(z)[0][:, 0]
                drawn, kept = self._to_events(self.flow.inverse(latent))
            drawn[:, 0] = x[waiting, 0]
            x[waiting[kept]] = drawn[kept]
            waiting = waiting[~kept]
            n_rejected += len(waiting)
            _require_not_broken(n_rejected, len(x))

    def _complete(self, m: Events) -> Array:
        """Returns events with these values of m and arbitrary, but allowed, other features."""
        centre = self.preprocessing.inverse(np.zeros((1, self.schema.n_features)))
        x = np.repeat(centre, len(m), axis=0)
        x[:, 0] = m
        return x

    def _evaluate(self, x: Events, reduce: Callable[[Array], Array]) -> Array:
        """Returns a reduction of the log densities feature by feature; -inf outside."""
        result = np.full(len(x), -np.inf)
        inside = np.flatnonzero(self.schema.in_support(x))
        for rows in _chunks(len(inside)):
            z, log_abs_det = self._to_flow(x[inside[rows]])
            with torch.no_grad():
                by_feature = _to_numpy(self.flow.log_prob_by_feature(z)).astype(np.float64)
            result[inside[rows]] = reduce(by_feature + log_abs_det)
        return result

    def _to_flow(self, x: Events) -> tuple[torch.Tensor, Array]:
        """Returns the flow's coordinates in θ's precision, and the preprocessing's log-slopes."""
        z, log_abs_det = self.preprocessing.forward(x)
        return torch.from_numpy(z).to(self.flow.theta), log_abs_det

    def _to_events(self, z: torch.Tensor) -> tuple[Array, NDArray[np.bool_]]:
        """Returns what the flow's coordinates mean, in float64, and which rows are events."""
        x = self.preprocessing.inverse(_to_numpy(z))
        with np.errstate(over="ignore"):  # what exceeds single precision becomes infinite
            return x, self.schema.in_support(x.astype(np.float32))


def _chunks(n: int) -> Iterator[slice]:
    """Yields slices that cover n events."""
    return (slice(i, min(i + CHUNK_EVENTS, n)) for i in range(0, n, CHUNK_EVENTS))


def _to_numpy(values: torch.Tensor) -> NDArray[Any]:
    """Returns a tensor of any device as an array."""
    array: NDArray[Any] = values.cpu().numpy()
    return array


def _require_not_broken(n_rejected: int, n: int) -> None:
    """Raises unless rejections are a tolerable multiple of what is asked for."""
    if n_rejected > MAX_REJECTED * n + CHUNK_EVENTS:
        raise OnlineFlowsError(
            f"expected samples inside the schema's support; got {n_rejected} that are not while "
            f"drawing {n}: the model is damaged or was never trained"
        )
