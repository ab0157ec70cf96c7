"""Events for the offline verbs: which file, which configuration, which rows."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onlineflows.cli.config import Config, load_config
from onlineflows.config import parse, read_json
from onlineflows.errors import ConfigError
from onlineflows.online.rundir import RunDirectory
from onlineflows.overrides import apply_overrides
from replay.prescales import Prescaler
from replay.settings import LhcoFeaturesConfig
from replay.sources import open_source
from replay.sources.hdf5 import is_lhco_features
from replay.sources.table import open_table
from streams import EventSchema, SchemaError, Source, Status

CHUNK_EVENTS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Good events of a source.

    Args:
        x: features, shape (n, d), float32, in the schema's units.
        label: truth where the source has it, shape (n,).
    """

    x: NDArray[np.float32]
    label: NDArray[np.uint8] | None


def configured(run: Path, data: Path | None, overrides: Sequence[str]) -> Config:
    """Returns the configuration that offline work on a run goes by.

    Args:
        run: a snapshot or a run directory.
        data: a TOML file that replaces the run's own configuration; a data file replaces its
            source alone.
        overrides: as given to ``--set``.

    Raises:
        ConfigError: neither says where events come from.
    """
    if data is not None and data.suffix == ".toml":
        return load_config(data, overrides)
    directory = RunDirectory.of(run)
    if directory is None and data is None:
        raise ConfigError(
            f"{run}: expected a snapshot inside its run directory, whose config.json says where "
            "the events come from; got one alone: say --data CONFIG"
        )
    document = {} if directory is None else read_json(directory.config)
    problems = apply_overrides(document, overrides)
    return parse(Config, document, where="the run's configuration", problems=problems)


def open_events(data: Path, schema: EventSchema, overrides: Sequence[str] = ()) -> Source:
    """Returns the events that a path means, which must be of a schema; the caller closes them.

    Args:
        data: a TOML file with a ``[source]``, an LHCO feature file, or a table with the schema's
            own columns as `onlineflows sample` writes them (.npy, .h5, .parquet, .root).
        schema: what the events must be.
        overrides: as given to ``--set``; for a TOML file.

    Raises:
        ConfigError, InputError: the path leads to none of these.
        SchemaError: the events are others than expected.
    """
    if data.suffix == ".toml":
        source = open_source(load_config(data, overrides).source)
    elif overrides:
        raise ConfigError(
            f"--set {overrides[0]}: expected a TOML file whose settings it changes; got {data}"
        )
    elif is_lhco_features(data):
        source = open_source(LhcoFeaturesConfig(type="lhco_features", paths=(str(data),)))
    else:
        source = open_table(data, schema)
    return required(source, schema, where=str(data))


def required(source: Source, schema: EventSchema, *, where: str) -> Source:
    """Returns a source whose events are of a schema; closes it where they aren't.

    Args:
        source: newly opened.
        schema: what the events must be.
        where: what the source is, for the message.

    Raises:
        SchemaError: the events are others than expected.
    """
    try:
        schema.require_equal(source.schema, where=where)
    except SchemaError:
        source.close()
        raise
    return source


def good_events(
    source: Source, n: int | None = None, *, prescaler: Prescaler | None = None
) -> Iterator[Events]:
    """Yields the good events of a source, chunk by chunk; at least one chunk, perhaps empty.

    Args:
        source: read on from where it stands.
        n: how many event indices to read; None for all.
        prescaler: which of them were left out of the stream; None for none.

    Raises:
        InputError: the source can't be read on.
    """
    n_left = n
    while True:
        read = source.read(CHUNK_EVENTS if n_left is None else min(CHUNK_EVENTS, n_left))
        good = read.status == Status.GOOD
        if prescaler is not None:
            good &= prescaler.choose(read.first_event + np.arange(len(read)), read.x)[1]
        yield Events(read.x[good], None if read.label is None else read.label[good])
        n_left = None if n_left is None else n_left - len(read)
        if not len(read) or n_left == 0:
            return


def collected(
    source: Source, n: int | None = None, *, prescaler: Prescaler | None = None
) -> Events:
    """Returns what `good_events` yields as one, and closes the source."""
    with closing(source):
        chunks = list(good_events(source, n, prescaler=prescaler))
    labels = [chunk.label for chunk in chunks if chunk.label is not None]
    return Events(
        np.concatenate([chunk.x for chunk in chunks]),
        np.concatenate(labels) if len(labels) == len(chunks) else None,
    )
