"""Learned densities as `torch.distributions.Distribution`."""

import math
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, constraints

from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.online.snapshot import read_snapshot
from streams import Feature

Shape = torch.Size | list[int] | tuple[int, ...]

NO_SHAPE = torch.Size()


class Support(constraints.Constraint):
    """Finite events inside the closed supports of all features; the last dimension is an event.

    Args:
        features: one for each entry of an event.
    """

    is_discrete = False
    event_dim = 1

    def __init__(self, features: tuple[Feature, ...]) -> None:
        self.features = features
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Returns which events are inside, of the value's shape less the last dimension."""
        value = _floating(value)  # edges in its precision, as everywhere: samples lie on them
        low = value.new_tensor([f.low for f in self.features])
        high = value.new_tensor([f.high for f in self.features])
        inside: Tensor = (value >= low) & (value <= high) & value.isfinite()
        return inside.all(-1)

    def __repr__(self) -> str:
        return (
            f"Support({', '.join(f'{f.low:g} <= {f.name} <= {f.high:g}' for f in self.features)})"
        )


class FlowDistribution(Distribution):
    """p(x) of events x in the schema's units, batch_shape (), event_shape (d,).

    What torch's distributions do, it does in the same way: with validate_args (the default)
    `log_prob` refuses events outside the support, without it they get -inf; `sample` draws from
    torch's global generator unless it was given one. Events are float32, log densities float64, on
    the CPU. There's no rsample, and log_prob has no gradient: it refuses values that ask for one.

    Args:
        density: of a snapshot, say, or a mixture.
        generator: where samples take their randomness from; None for torch's global one.
        validate_args: see `torch.distributions.Distribution`.

    Example:
        >>> import numpy as np, torch
        >>> from onlineflows.adapters.distribution import FlowDistribution
        >>> from onlineflows.adapters.sklearn import DensityEstimator
        >>> X = np.random.default_rng(1).normal([1, 2], [0.5, 2], (2000, 2))
        >>> estimator = DensityEstimator(uses=4, hidden=16, random_state=1).fit(X)
        >>> p = FlowDistribution(estimator.density_, generator=torch.Generator().manual_seed(1))
        >>> x = p.sample((3, 4))
        >>> x.shape, p.log_prob(x).shape
        (torch.Size([3, 4, 2]), torch.Size([3, 4]))
        >>> p.given(x[..., 0]).sample().shape  # p(x' | m), one x' for each m
        torch.Size([3, 4, 1])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(
        self,
        density: AnyDensity,
        *,
        generator: torch.Generator | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.density = density
        self._generator = generator
        event_shape = torch.Size([density.schema.n_features])
        super().__init__(event_shape=event_shape, validate_args=validate_args)

    @classmethod
    def from_snapshot(
        cls,
        path: str | Path,
        *,
        model: str | None = None,
        replica: int = 0,
        generator: torch.Generator | None = None,
        validate_args: bool | None = None,
    ) -> Self:
        """Returns the distribution that a snapshot has learned.

        Args:
            path: a snapshot, a folder of snapshots, or the folder of a run: the latest is taken.
            model: its name; None for the first.
            replica: 0 for the central θ.
            generator: see the class.
            validate_args: see the class.

        Raises:
            SnapshotError: it is missing or damaged, or its model has no density.
            ConfigError: there's no such model or replica.
        """
        density = read_snapshot(Path(path)).density(model, replica)
        return cls(density, generator=generator, validate_args=validate_args)

    @property
    def support(self) -> Support:
        """Where the density isn't zero."""
        return Support(self.density.schema.features)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns log p(x) in nats, shape value.shape[:-1].

        Raises:
            ValueError: validate_args, and an event is outside the support.
            DataError: the value requires a gradient.
        """
        if self._validate_args:
            self._validate_sample(value)
        x = _to_numpy(value)
        log_prob = self.density.log_prob(x.reshape(-1, x.shape[-1]))
        return torch.from_numpy(log_prob).reshape(value.shape[:-1])

    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Returns events, shape sample_shape + (d,)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        x = self.density.sample(math.prod(shape[:-1]), _seed(self._generator))
        return torch.from_numpy(x).reshape(shape)

    def given(self, m: Tensor) -> "ConditionalDistribution":
        """Returns p(x' | m) of the features x' beside the resonant one.

        Args:
            m: values of the resonant feature inside its support; their shape is the batch_shape.

        Raises:
            ValueError: validate_args, and some are outside.
            DataError: there's no other feature.
        """
        return ConditionalDistribution(
            self.density, m, generator=self._generator, validate_args=self._validate_args
        )


class ConditionalDistribution(Distribution):
    """p(x' | m) of the features x' beside the resonant one, batch_shape that of m.

    Everything else is as in `FlowDistribution`.

    Args:
        density: of x' and m.
        m: values of the resonant feature inside its support, of any shape.
        generator: where samples take their randomness from; None for torch's global one.
        validate_args: see `torch.distributions.Distribution`.

    Raises:
        ValueError: validate_args, and some m are outside the support.
        DataError: there's no other feature.
    """

    has_rsample = False

    def __init__(
        self,
        density: AnyDensity,
        m: Tensor,
        *,
        generator: torch.Generator | None = None,
        validate_args: bool | None = None,
    ) -> None:
        n_others = density.schema.n_features - 1
        if not n_others:
            raise DataError(f"expected features beside {density.schema.resonant.name!r}; got none")
        self.density = density
        self.m = m
        self._generator = generator
        super().__init__(m.shape, torch.Size([n_others]), validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Where m can be."""
        resonant = self.density.schema.resonant
        inside = constraints.interval(resonant.low, resonant.high)  # type: ignore[no-untyped-call]
        return {"m": inside}

    @property
    def support(self) -> Support:
        """Where the density of x' isn't zero."""
        return Support(self.density.schema.features[1:])

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns log p(x' | m) in nats; the value's and m's batch dimensions are broadcast.

        Raises:
            ValueError: validate_args, and an x' is outside the support, or of the wrong shape.
            DataError: the value requires a gradient.
        """
        if self._validate_args:
            self._validate_sample(value)
        shape = np.broadcast_shapes(value.shape[:-1], self.batch_shape)
        others = np.broadcast_to(_to_numpy(value), (*shape, value.shape[-1]))
        m = np.broadcast_to(_to_numpy(self.m), shape)
        x = np.concatenate([m[..., None], others], axis=-1)
        log_prob = self.density.log_prob_conditional(x.reshape(-1, x.shape[-1]))
        return torch.from_numpy(log_prob).reshape(shape)

    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Returns one x' for each m, shape sample_shape + batch_shape + (d - 1,).

        Raises:
            DataError: some m are outside the support.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        m = np.broadcast_to(_to_numpy(self.m), shape[:-1]).reshape(-1)
        x = self.density.sample_given(m, _seed(self._generator))
        return torch.from_numpy(x[:, 1:]).reshape(shape)


def _floating(value: Tensor) -> Tensor:
    return value if value.dtype in (torch.float32, torch.float64) else value.double()


def _to_numpy(value: Tensor) -> NDArray[np.floating[Any]]:
    if value.requires_grad:
        raise DataError(
            "expected values without requires_grad, because log_prob has no gradient with respect "
            "to them; detach them"
        )
    array: NDArray[np.floating[Any]] = _floating(value).cpu().numpy()
    return array


def _seed(generator: torch.Generator | None) -> int:
    """Takes a seed from a generator, so that it alone says what is drawn."""
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**63 - 1, (), generator=generator, device=device))
