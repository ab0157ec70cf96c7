"""What the user says of the learner and of validation. Imports neither torch nor a reader."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from onlineflows.errors import ConfigError
from onlineflows.model_settings import (
    JOINT,
    BufferKind,
    Family,
    ModelConfig,
    OptimiserKind,
    Transform,
    require_distinct,
)
from onlineflows.offline.regions import Regions

MANIFEST_NBYTES = 4096
"""No manifest is smaller."""
FIT_RANGE = (2.9, 6.9)
"""Where the dijet spectrum of the LHC Olympics falls smoothly, in TeV."""


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """What the user says of a flow.

    Args:
        family: "autoregressive" (exact densities of every prefix of the features) or "coupling"
            (one pass in both directions; the resonant feature has a spline of its own).
        transform: "spline" (rational-quadratic, 1906.04032) or "affine".
        blocks: number of blocks for autoregressive flows; of coupling layers otherwise.
        hidden: units in each of the two hidden layers.
        bins: bins of a spline.
        bound: splines act on [-bound, bound] and are the identity outside.
    """

    family: Family = "autoregressive"
    transform: Transform = "spline"
    blocks: int = 3
    hidden: int = 64
    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        _require_at_least(self, "flow", blocks=1, hidden=1, bins=2)
        if not 0 < self.bound < math.inf:
            raise ConfigError(f"flow.bound: expected a positive number; got {self.bound}")


@dataclass(frozen=True, slots=True)
class PreprocessConfig:
    """The marginal map, fitted on the first events and frozen.

    Args:
        fit_events: events that are held for the fit, then trained on like all others.
        knots: knots of each feature's monotone spline.
    """

    fit_events: int = 20_000
    knots: int = 13

    def __post_init__(self) -> None:
        _require_at_least(self, "preprocess", fit_events=1, knots=2)


@dataclass(frozen=True, slots=True)
class BufferConfig:
    """The bounded buffer that events live in while they last.

    Args:
        kind: "window" (each event is used exactly `uses` times, then gone) or "reservoir" (a
            uniform sample of everything seen).
        capacity: events that the buffer holds; its size in bytes is fixed by this.
        uses: how often an event is used: exactly in a window, on average in a reservoir.
    """

    kind: BufferKind = "window"
    capacity: int = 65_536
    uses: int = 4


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """The optimiser.

    Args:
        kind: "schedule_free" (schedule-free AdamW, 2405.15682: constant rate, its own average)
            or "adam" with an average of the weights over a growing window.
        learning_rate: the rate after warm-up.
        warmup_steps: steps over which the rate rises linearly.
        weight_decay: decoupled weight decay.
    """

    kind: OptimiserKind = "schedule_free"
    learning_rate: float = 3.5e-3
    warmup_steps: int = 50
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(
                f"optimiser.learning_rate: expected a positive number; got {self.learning_rate}"
            )
        _require_at_least(self, "optimiser", warmup_steps=0, weight_decay=0)


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """The training loop.

    Args:
        batch_size: events per gradient step.
        seed: seed of the initial weights and of the buffer's draws.
        threads: CPU threads of the learner.
        engine: "auto" takes the compiled engine where it was built and torch elsewhere; "torch" and
            "compiled" insist.
        precision: "bfloat16" lets the compiled engine multiply in bfloat16 while it trains, where
            the processor can, and a GPU in TF32; densities are always evaluated in float32 or
            better.
        deterministic: whether gradients have the same bits for any number of threads.
        device: "cpu", or "cuda" to take gradient steps on a GPU; see docs/gpu.md for the batch
            sizes that it wants.
    """

    batch_size: int = 512
    seed: int = 1
    threads: int = 1
    engine: Literal["auto", "torch", "compiled"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    deterministic: bool = False
    device: Literal["cpu", "cuda"] = "cpu"

    def __post_init__(self) -> None:
        _require_at_least(self, "trainer", batch_size=1, seed=0, threads=1)


@dataclass(frozen=True, slots=True)
class SnapshotConfig:
    """The published model.

    Args:
        every_events: write one every so many trained events; 0 for never.
        every_s: write one every so many seconds; 0 for never.
        keep: how many are kept; 0 for all.
        manifest_nbytes: size that the manifest is padded to; must hold the longest history.
        signing_key: file with the Ed25519 secret key that signs each one; empty for no signature.
    """

    every_events: int = 200_000
    every_s: float = 0.0
    keep: int = 5
    manifest_nbytes: int = 32_768
    signing_key: str = ""

    def __post_init__(self) -> None:
        _require_at_least(
            self, "snapshot", every_events=0, every_s=0, keep=0, manifest_nbytes=MANIFEST_NBYTES
        )


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """The private state for resuming.

    Args:
        every_events: write one every so many trained events; 0 for never.
    """

    every_events: int = 100_000

    def __post_init__(self) -> None:
        _require_at_least(self, "checkpoint", every_events=0)


@dataclass(frozen=True, slots=True)
class DriftConfig:
    """The drift alarm: ADWIN on the NLL of new events under the frozen previous model.

    Args:
        delta: ADWIN's confidence parameter.
        warmup_events: events before the alarm is armed.
        sample_events: events of each received batch whose NLL is evaluated.
    """

    delta: float = 1e-5
    warmup_events: int = 100_000
    sample_events: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ConfigError(f"drift.delta: expected a number between 0 and 1; got {self.delta}")
        _require_at_least(self, "drift", warmup_events=0, sample_events=0)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """The gate: a test of every snapshot against the newest events, before it is written.

    A snapshot that fails is marked, and published all the same.

    Args:
        events: newest events that are kept for it; 0 for no gate.
        directions: random directions that are tested besides the features' own.
        false_alarms: probability at most that a perfect snapshot fails.
    """

    events: int = 2048
    directions: int = 32
    false_alarms: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1:
            raise ConfigError(
                f"gate.false_alarms: expected a number between 0 and 1; got {self.false_alarms}"
            )
        _require_at_least(self, "gate", events=0, directions=0)


@dataclass(frozen=True, slots=True)
class ValidateConfig:
    """The offline comparison.

    Args:
        signal_region: interval of the resonant feature, in its unit.
        sidebands: intervals around it.
        fit_range: of the spectra that a bump is hunted in: from where they fall smoothly, with the
            signal region inside.
        folds: folds of the classifier's k-fold.
        draws: random draws of the byte-equal stored events.
        n_samples: events sampled from the snapshot; 0 for as many as it has seen.
        min_background: floor of background events for the maximum SIC.
        test_background, test_signal: events of the stand-in's test set.
        seed: seed of samples, classifiers and draws.
        threads: OpenMP threads of the classifier; more than there are free cores makes it many
            times slower. 0 lets the library choose.
    """

    signal_region: tuple[float, float] = (3.3, 3.7)
    sidebands: tuple[tuple[float, float], ...] = ((3.1, 3.3), (3.7, 3.9))
    fit_range: tuple[float, float] = FIT_RANGE
    folds: int = 5
    draws: int = 10
    n_samples: int = 0
    min_background: int = 100
    test_background: int = 600_000
    test_signal: int = 30_000
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        _require_at_least(
            self,
            "validate",
            folds=2,
            draws=2,
            n_samples=0,
            min_background=1,
            test_background=1,
            test_signal=1,
            seed=0,
            threads=0,
        )
        try:
            Regions(self.signal_region, self.sidebands)
        except ConfigError as error:
            raise ConfigError(f"validate.{error}") from error
        if self.fit_range != FIT_RANGE:
            self.require_fit_range()

    def require_fit_range(self) -> None:
        """Checks that the signal region lies in the range of the fit.

        A range that was left as it is counts only where a bump is hunted: a run in another unit
        that is never validated needs none.

        Raises:
            ConfigError: it doesn't.
        """
        (low, high), region = self.fit_range, self.signal_region
        if not -math.inf < low < region[0] < region[1] < high < math.inf:
            default = ", the default" if self.fit_range == FIT_RANGE else ""
            raise ConfigError(
                "validate.fit_range: expected a range that begins below and ends above "
                f"validate.signal_region {region}; got {self.fit_range}{default}: "
                "set validate.fit_range"
            )


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """Everything that decides what is learned from a given stream of events."""

    models: tuple[ModelConfig, ...] = (ModelConfig(JOINT),)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    gate: GateConfig = field(default_factory=GateConfig)

    def __post_init__(self) -> None:
        require_sizes_that_fit(self.buffer, self.trainer.batch_size)
        require_distinct(self.models)
        for model in self.models:
            if model.overrides():
                self.of(model)

    def of(self, model: ModelConfig) -> Self:
        """Returns what is learned by one of the models alone, its overrides carried out.

        Raises:
            ConfigError: they make no sense with the rest.
        """
        try:
            sections = {
                name: dataclasses.replace(getattr(self, name), **given)
                for name, given in model.overrides().items()
            }
            return dataclasses.replace(self, models=(model.without_overrides(),), **sections)
        except ConfigError as error:
            raise ConfigError(f"models: {model.name!r}: {error}") from error


def require_sizes_that_fit(buffer: BufferConfig, batch_size: int) -> None:
    """Checks what neither the buffer's nor the trainer's settings can know alone.

    Raises:
        ConfigError: capacity, uses and batch size don't fit together.
    """
    least = batch_size if buffer.kind == "window" else 1
    if not (1 <= buffer.uses <= batch_size and buffer.capacity >= least):
        raise ConfigError(
            "buffer: expected 1 <= uses <= trainer.batch_size, and a window of at least as many "
            f"events; got uses={buffer.uses}, trainer.batch_size={batch_size}, "
            f"kind={buffer.kind!r}, capacity={buffer.capacity}"
        )


def _require_at_least(section: Any, name: str, **least: int) -> None:
    """Refuses settings below their lower limits; a NaN is below every limit."""
    for key, low in least.items():
        value = getattr(section, key)
        if not value >= low:
            raise ConfigError(f"{name}.{key}: expected at least {low}; got {value}")
