"""The whole configuration: the producer's, the wire's and the learner's sections of one file."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from onlineflows.config import load, parse
from onlineflows.errors import ConfigError
from onlineflows.overrides import apply_overrides
from onlineflows.settings import (
    BufferConfig,
    CheckpointConfig,
    DriftConfig,
    FlowConfig,
    LearnerConfig,
    OptimiserConfig,
    PreprocessConfig,
    SnapshotConfig,
    TrainerConfig,
    ValidateConfig,
)
from replay.settings import PacingConfig, ReplayConfig, SourceConfig, StandinConfig
from streams.settings import WireConfig

_SOURCE_BY_SUFFIX = {".h5": "lhco_features", ".hdf5": "lhco_features", ".root": "root"}


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Where a run leaves its results.

    Args:
        name: the run's name; empty stands for the name of the configuration file.
        directory: folder of all runs, relative to the current one.
    """

    name: str = ""
    directory: str = "runs"

    @property
    def path(self) -> Path:
        """The run directory, ``runs/<name>``."""
        return Path(self.directory) / (self.name or "default")


@dataclass(frozen=True, slots=True)
class Config:
    """A complete run, section by section."""

    run: RunConfig = field(default_factory=RunConfig)
    source: Annotated[SourceConfig, Field(discriminator="type")] = field(
        default_factory=StandinConfig
    )
    pacing: PacingConfig = field(default_factory=PacingConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    wire: WireConfig = field(default_factory=WireConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    snapshot: SnapshotConfig = field(default_factory=SnapshotConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    evaluation: Annotated[SourceConfig, Field(discriminator="type")] | None = None
    """Truth-labelled events that validation tests on; the stand-in has its own."""

    @property
    def learner(self) -> LearnerConfig:
        """The sections that decide what is learned from a given stream."""
        names = [f.name for f in dataclasses.fields(LearnerConfig)]
        return LearnerConfig(**{name: getattr(self, name) for name in names})


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Returns the configuration in a TOML file, changed by ``section.key=value`` overrides.

    A run without a name takes that of its file.

    Args:
        path: the file; None for defaults alone.
        overrides: as given to ``--set``; later ones win.

    Raises:
        ConfigError: the file can't be read or anything in it is wrong; lists everything.
    """
    config = load(Config, path, overrides)
    if path is None or config.run.name:
        return config
    return dataclasses.replace(config, run=dataclasses.replace(config.run, name=path.stem))


def load_data_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Returns a configuration whose `source` reads the events that a user named.

    Args:
        path: a TOML file, or a data file whose name tells the source: ``.h5`` and ``.hdf5`` are
            LHCO feature files, ``.root`` is ROOT. What else must be known comes by overrides,
            such as ``source.dijet=FatJet`` or ``source.type=lhco_particles``.
        overrides: as given to ``--set``.

    Raises:
        ConfigError: no source reads such a file, or anything is wrong with the settings.
    """
    if path.suffix == ".toml":
        return load_config(path, overrides)
    kind = _SOURCE_BY_SUFFIX.get(path.suffix)
    if kind is None:
        raise ConfigError(
            f"{path}: expected a file of events ({', '.join(_SOURCE_BY_SUFFIX)}) or a "
            f"configuration (.toml) whose [source] describes them; got {path.suffix or 'no suffix'}"
        )
    document = {"source": {"type": kind, "paths": [str(path)]}}
    problems = apply_overrides(document, overrides)
    return parse(Config, document, where=str(path), problems=problems)
