"""What the user says of the models that a run trains side by side: ``[[models]]``."""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from onlineflows.errors import ConfigError

Family = Literal["autoregressive", "coupling"]
Transform = Literal["spline", "affine"]
BufferKind = Literal["window", "reservoir"]
OptimiserKind = Literal["schedule_free", "adam"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""Names of models: they are typed in commands and name arrays in snapshots."""

_SECTIONS = ("preprocess", "flow", "buffer", "optimiser", "trainer")

JOINT = "joint"
"""Name of the one model that a run trains unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class PreprocessOverrides:
    """Settings of [preprocess] for one model; None for the run's."""

    fit_events: int | None = None
    knots: int | None = None


@dataclass(frozen=True, slots=True)
class FlowOverrides:
    """Settings of [flow] for one model; None for the run's."""

    family: Family | None = None
    transform: Transform | None = None
    blocks: int | None = None
    hidden: int | None = None
    bins: int | None = None
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class BufferOverrides:
    """Settings of [buffer] for one model; None for the run's."""

    kind: BufferKind | None = None
    capacity: int | None = None
    uses: int | None = None


@dataclass(frozen=True, slots=True)
class OptimiserOverrides:
    """Settings of [optimiser] for one model; None for the run's."""

    kind: OptimiserKind | None = None
    learning_rate: float | None = None
    warmup_steps: int | None = None
    weight_decay: float | None = None


@dataclass(frozen=True, slots=True)
class TrainerOverrides:
    """Settings of [trainer] for one model; None for the run's."""

    batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model of a run: a region of the resonant feature with a map, a buffer and θ of its own.

    Args:
        name: letters, digits, "-" and "_"; it is asked for by this name ever after.
        inside: the model learns events whose resonant feature is in this closed interval, and its
            density lives there alone.
        outside: the model learns all other events (sidebands), and its density covers everything:
            what it says inside the interval is interpolated. At most one of the two is given;
            without either the model learns every event.
        replicas: number R of further θ that are trained on the same events beside the central one.
        bootstrap: whether replicas weigh events by Poisson(1) numbers of their own; otherwise they
            differ by their initial weights alone (a deep ensemble).
        share: numbers k and n: the model learns the events of the k-th of n parts alone, k from 0,
            into which the stream is dealt at random, by a hash of the run's seed and the event's
            index. Models of different parts have no event in common: the one may select what the
            other predicts.
        preprocess, flow, buffer, optimiser, trainer: settings that are this model's own; the
            run's sections hold for the rest.
    """

    name: str
    inside: tuple[float, float] | None = None
    outside: tuple[float, float] | None = None
    replicas: int = 0
    bootstrap: bool = True
    share: tuple[int, int] | None = None
    preprocess: PreprocessOverrides = field(default_factory=PreprocessOverrides)
    flow: FlowOverrides = field(default_factory=FlowOverrides)
    buffer: BufferOverrides = field(default_factory=BufferOverrides)
    optimiser: OptimiserOverrides = field(default_factory=OptimiserOverrides)
    trainer: TrainerOverrides = field(default_factory=TrainerOverrides)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(
                "models.name: expected 1 to 32 letters, digits, '-' or '_', a letter or digit "
                f"first; got {self.name!r}"
            )
        if self.inside is not None and self.outside is not None:
            raise ConfigError(
                f"models: {self.name!r}: expected inside or outside, or neither; got both"
            )
        for key in ("inside", "outside"):
            interval = getattr(self, key)
            if interval is not None and not interval[0] < interval[1]:
                raise ConfigError(
                    f"models: {self.name!r}: {key}: expected [low, high] with low < high; got "
                    f"{list(interval)}"
                )
        if self.outside is not None and not all(map(math.isfinite, self.outside)):
            raise ConfigError(
                f"models: {self.name!r}: outside: expected a finite interval; got "
                f"{list(self.outside)}: say inside = [low, high] for one side alone"
            )
        if self.share is not None and not 0 <= self.share[0] < self.share[1]:
            raise ConfigError(
                f"models: {self.name!r}: share: expected [k, n] with 0 <= k < n, the k-th of n "
                f"parts, from 0; got {list(self.share)}"
            )
        if self.replicas < 0:
            raise ConfigError(
                f"models: {self.name!r}: replicas: expected at least 0; got {self.replicas}"
            )

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Returns the settings that are this model's own, by section."""
        sections = {name: _given(getattr(self, name)) for name in _SECTIONS}
        return {name: given for name, given in sections.items() if given}

    def without_overrides(self) -> "ModelConfig":
        """Returns the model with the run's settings throughout."""
        sections = {name: type(getattr(self, name))() for name in _SECTIONS}
        return dataclasses.replace(self, **sections)


def require_distinct(models: tuple[ModelConfig, ...]) -> None:
    """Checks a run's models against each other.

    Raises:
        ConfigError: there are none, or two of one name.
    """
    names = [model.name for model in models]
    if not names:
        raise ConfigError(f"models: expected at least one; got none: leave it out for {JOINT!r}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"models: expected distinct names; repeated: {repeated}")


def _given(overrides: Any) -> dict[str, Any]:
    values = {f.name: getattr(overrides, f.name) for f in dataclasses.fields(overrides)}
    return {name: value for name, value in values.items() if value is not None}
