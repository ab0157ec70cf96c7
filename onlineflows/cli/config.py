"""The whole configuration: the producer's, the wire's and the learner's sections of one file."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from onlineflows.config import load, to_dict
from onlineflows.errors import ConfigError
from onlineflows.live.settings import LiveConfig
from onlineflows.model_settings import JOINT, ModelConfig
from onlineflows.online.rundir import LANE
from onlineflows.settings import (
    BufferConfig,
    CheckpointConfig,
    DriftConfig,
    FlowConfig,
    GateConfig,
    LearnerConfig,
    OptimiserConfig,
    PreprocessConfig,
    SnapshotConfig,
    TrainerConfig,
    ValidateConfig,
)
from replay.prescales import require_prescales
from replay.settings import (
    PacingConfig,
    PrescaleConfig,
    QuarantineConfig,
    ReplayConfig,
    RootConfig,
    SourceConfig,
    StandinConfig,
)
from streams.errors import InputError
from streams.schema import LHCO
from streams.settings import OperationConfig, WireConfig

DEFAULT_NAME = "default"
DATA = (".root", ".h5", ".hdf5", ".npy", ".parquet")
"""How the names of files of events end, which people give in place of a configuration."""

NAME_NBYTES = 60
"""Longest name of a run: the learner greets with it, and no greeting may be longer."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Where a run leaves its results.

    Args:
        name: the run's name, also that of its folder; empty stands for the name of the
            configuration file, or for "default" without one.
        directory: folder of all runs, relative to the current one.
    """

    name: str = ""
    directory: str = "runs"

    def __post_init__(self) -> None:
        is_plain = self.name == Path(self.name).name and self.name not in (".", "..")
        if len(self.name.encode()) > NAME_NBYTES or (self.name and not is_plain):
            raise ConfigError(
                f"run.name: expected the name of a folder of at most {NAME_NBYTES} letters; got "
                f"{self.name!r}"
            )

    @property
    def path(self) -> Path:
        """The run directory, ``runs/<name>``."""
        return Path(self.directory) / (self.name or DEFAULT_NAME)


@dataclass(frozen=True, slots=True)
class Config:
    """A complete run, section by section."""

    run: RunConfig = field(default_factory=RunConfig)
    source: Annotated[SourceConfig, Field(discriminator="type")] = field(
        default_factory=StandinConfig
    )
    pacing: PacingConfig = field(default_factory=PacingConfig)
    prescales: tuple[PrescaleConfig, ...] = ()
    """Selections of which one event in so many is sent; the first that an event passes counts."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    quarantine: QuarantineConfig = field(default_factory=QuarantineConfig)
    operation: OperationConfig = field(default_factory=OperationConfig)
    live: LiveConfig = field(default_factory=LiveConfig)
    wire: WireConfig = field(default_factory=WireConfig)
    models: tuple[ModelConfig, ...] = (ModelConfig(JOINT),)
    """What is trained side by side, each with settings of its own over those below."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    snapshot: SnapshotConfig = field(default_factory=SnapshotConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    evaluation: Annotated[SourceConfig, Field(discriminator="type")] | None = None
    """Truth-labelled events that validation tests on; the stand-in has its own."""

    def __post_init__(self) -> None:
        # Settings of several sections must fit together; better said now than at the first event.
        _ = self.learner
        try:
            require_prescales(self.prescales, _feature_names(self.source))
        except InputError as error:
            raise ConfigError(str(error)) from error
        if self.pacing.arrivals == "recorded" and not getattr(self.source, "time", ""):
            raise ConfigError(
                'pacing.arrivals: expected source.time where it is "recorded", an expression such '
                f'as "luminosityBlock * 23.31"; got none for a source of type {self.source.type!r}'
            )

    @property
    def directory(self) -> Path:
        """The folder of this consumer's results: the run's, or its lane's within that."""
        lane = f"{LANE}{self.wire.lane}" if self.wire.lanes > 1 else ""
        return self.run.path / lane

    @property
    def learner(self) -> LearnerConfig:
        """The sections that decide what is learned from a given stream."""
        names = [f.name for f in dataclasses.fields(LearnerConfig)]
        return LearnerConfig(**{name: getattr(self, name) for name in names})


def _feature_names(source: SourceConfig) -> tuple[str, ...]:
    """The features' names, as far as the configuration tells them."""
    if isinstance(source, RootConfig) and source.features:
        return tuple(feature.name for feature in source.features)
    return LHCO.names


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Returns the configuration in a TOML file, changed by ``section.key=value`` overrides.

    A run without a name takes that of its file; without a file it is "default".

    Args:
        path: the file; None for defaults alone.
        overrides: as given to ``--set``; later ones win.

    Raises:
        ConfigError: the file can't be read or anything in it is wrong; lists everything.
    """
    if path is None:
        # Without a file the events are the stand-in's, whatever else is said of them.
        overrides = ["source.type=standin", *overrides]
    elif path.suffix.lower() in DATA:
        raise ConfigError(
            f"{path}: expected a configuration file (TOML), whose source.paths names this one; got "
            "the events themselves; `onlineflows look FILE` shows what a ROOT file holds, "
            "`onlineflows data verify FILE` one of the LHC Olympics"
        )
    config = load(Config, path, overrides)
    if config.run.name:
        return config
    name = DEFAULT_NAME if path is None else path.stem
    return dataclasses.replace(config, run=dataclasses.replace(config.run, name=name))


def public_config(config: Config) -> dict[str, Any]:
    """Returns the configuration as plain JSON types, without folders and the names of keys.

    It goes into every snapshot, and a snapshot may be shared.
    """
    document = to_dict(config)
    del document["run"]["directory"], document["live"]
    document["quarantine"]["path"] = Path(document["quarantine"]["path"]).name
    del document["wire"]["security"]
    del document["snapshot"]["signing_key"]
    for section in (document["source"], document["evaluation"]):
        if section and "paths" in section:
            paths = section["paths"]
            named = [paths] if isinstance(paths, str) else paths
            section["paths"] = [Path(path).name for path in named]
    return document
