"""Flows over θ by the compiled engine: the same mathematics as `TorchFlow`, on the CPU, faster."""

import ctypes
import weakref
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor

from onlineflows.engine.library import EngineOptions, load
from onlineflows.errors import ConfigError, OnlineFlowsError
from onlineflows.flows import flow_over
from onlineflows.flows.base import Flow, Gradient
from onlineflows.flows.spec import FlowSpec
from onlineflows.settings import TrainerConfig

LOG_TWO_PI = 1.8378770664093453

Precision = Literal["float32", "bfloat16"]


class EngineFlow(Flow):
    """A flow over θ by the compiled engine.

    Nothing is copied where tensors are contiguous, on the CPU and of θ's type; others are
    converted. Results aren't connected to autograd: `gradient` is the only derivative.

    Args:
        spec: the architecture.
        theta: the live weights, shape (n_parameters,), float32 or float64, on the CPU; kept, not
            copied: whoever changes it in place changes the flow.
        threads: cores to use at most, the caller's included.
        precision: "bfloat16" lets `gradient` multiply in bfloat16 (accumulating in float32) where
            the processor can; θ is float32 then. Densities and samples never do.
        deterministic: whether `gradient` gives the same bits for any number of threads.

    Raises:
        ConfigError: there's no engine, or θ or the options don't fit.
    """

    def __init__(
        self,
        spec: FlowSpec,
        theta: Tensor,
        *,
        threads: int = 1,
        precision: Precision = "float32",
        deterministic: bool = False,
    ) -> None:
        library, reason = load()
        if library is None:
            raise ConfigError(f"expected the compiled engine; got none: {reason}")
        _check_theta(spec, theta)
        if threads < 1:
            raise ConfigError(f"threads: expected at least 1; got {threads}")
        if precision == "bfloat16" and theta.dtype != torch.float32:
            raise ConfigError(f"precision: expected float32 θ for bfloat16; got {theta.dtype}")
        self.spec = spec
        self.theta = theta
        self.precision = precision
        self._options = EngineOptions(threads, precision == "bfloat16", deterministic)
        self._library = library
        self._engine = _new_engine(library, spec)
        weakref.finalize(self, library.engine_free, self._engine)
        suffix = "f32" if theta.dtype == torch.float32 else "f64"
        self._gradient = getattr(library, f"engine_gradient_{suffix}")
        self._forward = getattr(library, f"engine_forward_{suffix}")
        self._inverse = getattr(library, f"engine_inverse_{suffix}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as what it computes: whoever has no engine takes it up with torch."""
        deterministic = bool(self._options.deterministic)
        return _restored, (self.spec, self.theta, self.threads, self.precision, deterministic)

    @property
    def threads(self) -> int:
        """Cores to use at most, the caller's included."""
        return int(self._options.threads)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns z and, feature by feature, log |∂z_i/∂x_i|, both of shape (n, d)."""
        x, context = self._events(x, context)
        z, log_abs_det = torch.empty_like(x), torch.empty_like(x)
        arguments = _addresses(self.theta, x, context)
        results = _addresses(z, log_abs_det)
        self._check(self._forward(self._engine, *arguments, len(x), *results, self._options))
        return z, log_abs_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the x whose image is z, shape (n, d)."""
        z, context = self._events(z, context)
        x = torch.empty_like(z)
        arguments = _addresses(self.theta, z, context)
        self._check(self._inverse(self._engine, *arguments, len(z), x.data_ptr(), self._options))
        return x

    def log_prob_by_feature(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns log densities feature by feature, shape (n, d); their sum is `log_prob`."""
        z, log_abs_det = self.forward(x, context)
        return z.square_().add_(LOG_TWO_PI).mul_(-0.5).add_(log_abs_det)

    def gradient(
        self, x: Tensor, context: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Gradient:
        """Returns the NLL of each event and the gradient of its (weighted) mean."""
        x, context = self._events(x, context)
        if weight is not None:
            weight = self._weights(weight, (len(x),))
        gradient = Gradient(nll=x.new_empty(len(x)), theta=torch.empty_like(self.theta))
        self._fill(gradient, self.theta, x, context, weight, n_thetas=1)
        return gradient

    def gradients(
        self, thetas: Tensor, x: Tensor, context: Tensor | None = None, *, weight: Tensor
    ) -> Gradient:
        """Returns NLL and gradients of several θ over the same events (bootstrap replicas).

        Args:
            thetas: one θ a row, shape (r, n_parameters), of this flow's θ's type.
            x: events, shape (n, d).
            context: shape (n, c).
            weight: weights of the events for each θ, shape (r, n). An event of weight 0 costs
                nothing, and its NLL is 0.
        """
        n_thetas = len(thetas)
        if thetas.shape != (n_thetas, len(self.theta)) or not _is_like(thetas, self.theta):
            raise ConfigError(
                f"expected θ as contiguous rows of {len(self.theta)} numbers of type "
                f"{self.theta.dtype}; got shape {tuple(thetas.shape)}, {thetas.dtype}"
            )
        x, context = self._events(x, context)
        weight = self._weights(weight, (n_thetas, len(x)))
        gradient = Gradient(nll=x.new_empty(n_thetas, len(x)), theta=torch.empty_like(thetas))
        self._fill(gradient, thetas, x, context, weight, n_thetas=n_thetas)
        return gradient

    def _fill(
        self,
        gradient: Gradient,
        thetas: Tensor,
        x: Tensor,
        context: Tensor | None,
        weight: Tensor | None,
        *,
        n_thetas: int,
    ) -> None:
        """Computes into a gradient's own tensors; everything has been checked."""
        arguments = _addresses(thetas, x, context, weight)
        results = _addresses(gradient.nll, gradient.theta)
        sizes = len(x), n_thetas
        self._check(self._gradient(self._engine, *arguments, *sizes, *results, self._options))

    def _events(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        n_context = 0 if context is None else context.shape[1]
        if x.ndim != 2 or (x.shape[1], n_context) != (self.spec.n_features, self.spec.n_context):
            raise ConfigError(
                f"expected events of shape (n, {self.spec.n_features}) with "
                f"{self.spec.n_context} context variables; got {tuple(x.shape)} with {n_context}"
            )
        if context is None or n_context == 0:
            return self._numbers(x), None
        if len(context) != len(x):
            raise ConfigError(f"expected context for {len(x)} events; got it for {len(context)}")
        return self._numbers(x), self._numbers(context)

    def _weights(self, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
        if weight.shape != shape:
            raise ConfigError(f"expected weights of shape {shape}; got {tuple(weight.shape)}")
        return self._numbers(weight)

    def _numbers(self, values: Tensor) -> Tensor:
        # The way of every training step: nothing to convert, and each torch call costs 1 µs.
        if values.dtype == self.theta.dtype and values.is_contiguous() and values.is_cpu:
            return values
        return values.detach().to(self.theta).contiguous()

    def _check(self, status: int) -> None:
        if status != 0:
            raise OnlineFlowsError(f"the engine failed: {self._library.engine_error().decode()}")


def _restored(
    spec: FlowSpec, theta: Tensor, threads: int, precision: Precision, deterministic: bool
) -> Flow:
    trainer = TrainerConfig(threads=threads, precision=precision, deterministic=deterministic)
    return flow_over(spec, theta, trainer=trainer)


def _check_theta(spec: FlowSpec, theta: Tensor) -> None:
    fits = theta.shape == (spec.n_parameters,) and theta.is_contiguous()
    if not fits or theta.dtype not in (torch.float32, torch.float64):
        raise ConfigError(
            f"expected θ as one contiguous float32 or float64 vector of {spec.n_parameters} "
            f"numbers for this specification; got shape {tuple(theta.shape)}, {theta.dtype}: "
            "load the θ that belongs to it"
        )
    if theta.device.type != "cpu":
        raise ConfigError(f"expected θ on the CPU; got it on {theta.device}: use TorchFlow there")


def _is_like(values: Tensor, theta: Tensor) -> bool:
    same = values.dtype == theta.dtype and values.device == theta.device
    return same and values.is_contiguous()


def _addresses(*tensors: Tensor | None) -> tuple[int | None, ...]:
    return tuple(None if tensor is None else tensor.data_ptr() for tensor in tensors)


def _new_engine(library: ctypes.CDLL, spec: FlowSpec) -> int:
    """Hands the specification over as plain integers, in the layout of csrc/engine.h."""
    numbers = [
        spec.n_features,
        spec.n_context,
        int(spec.transform == "spline"),
        spec.bins,
        len(spec.blocks),
    ]
    for block in spec.blocks:
        lists = (
            block.inputs,
            block.targets,
            block.fan_in_1,
            block.fan_in_2,
            block.fan_in_out,
        )
        numbers += map(len, lists[:4])
        numbers += chain.from_iterable(lists)
    array = (ctypes.c_int32 * len(numbers))(*numbers)
    engine: int | None = library.engine_new(array, len(numbers), spec.bound)
    if engine is None:
        raise ConfigError(
            f"the engine refuses the specification: {library.engine_error().decode()}"
        )
    return engine
