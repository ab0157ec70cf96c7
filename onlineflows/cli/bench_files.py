"""`onlineflows bench tan` and `feta`: studies of whole files of labelled events."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from onlineflows.bench import feta, tan
from onlineflows.bench.feta_table import feta_figure, feta_tables
from onlineflows.bench.machine import describe
from onlineflows.bench.tan_table import tan_tables
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.cli.search_data import STANDIN, dataset_name, labelled_file
from onlineflows.cli.study import run_cells, show
from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.feta import Bands
from onlineflows.offline.style import save_figure
from replay.sources.standin_density import StandinDensity
from streams import LHCO

Row = Mapping[str, Any]

STANDIN_EVENTS = (40_000, 4_000)
"""Background and signal of the stand-in where it plays a file."""


def tan_study(output: Output, *, quick: bool, jobs: int, target: Path | None, dataset: str) -> int:
    """Measures Tan's ratios where they aren't recorded yet and prints; returns the exit code.

    Args:
        output: how to print.
        quick: sizes that only show that everything runs.
        jobs: processes.
        target: the record, which is resumed; None for none.
        dataset: "standin", or a file of LHC Olympics features with labels.
    """
    name = dataset_name(dataset)
    setting = tan.quick(name) if quick else tan.Setting(name)
    head = _head("tan", quick, {"dataset": dataset})
    measure = functools.partial(tan.measure, functools.partial(open_split, dataset), setting)
    rows = run_cells(tan.keys(setting), measure, output, head=head, target=target, jobs=jobs)
    if not output.as_json:
        show(tan_tables(rows))
    return DONE


def feta_study(
    output: Output,
    *,
    quick: bool,
    jobs: int,
    target: Path | None,
    dataset: str,
    reference: str | None,
) -> int:
    """Measures FETA's four ways where they aren't recorded yet and prints; returns the exit code.

    Beside the record, a figure of its name shows how far events move.

    Args:
        output: how to print.
        quick: sizes that only show that everything runs.
        jobs: processes.
        target: the record, which is resumed; None for none.
        dataset: the events to move to: "standin", or a file of LHC Olympics features with labels.
        reference: the events that are moved: such a file.

    Raises:
        ConfigError: there is no reference.
    """
    if reference is None:
        raise ConfigError(
            "--reference: expected the simulated events that are moved to those of --dataset; got "
            "none: give a file of LHC Olympics features with labels"
        )
    setting = feta.QUICK if quick else feta.Setting()
    head = _head("feta", quick, {"dataset": dataset, "reference": reference})
    opened = functools.partial(open_samples, dataset, reference)
    measure = functools.partial(feta.measure, opened, setting)
    rows = run_cells(feta.keys(setting), measure, output, head=head, target=target, jobs=jobs)
    if target is not None:
        save_figure(feta_figure(rows), target.parent, target.stem)
    if not output.as_json:
        show(feta_tables(rows))
    return DONE


def open_samples(dataset: str, reference: str) -> feta.Samples:
    """Returns the background of two data sets inside FETA's bands."""
    low, high = Bands().intervals["OB1"][0], Bands().intervals["OB2"][1]
    found = []
    for name in (reference, dataset):
        x, label = _labelled(name)
        found.append(x[(label == 0) & (x[:, 0] >= low) & (x[:, 0] < high)])
    return feta.Samples(LHCO.names, *found)


def open_split(dataset: str, fraction: float | None, seed: int) -> tan.Split:
    """Returns half of the events as a stream, the other half to test on.

    Args:
        dataset: "standin", or a file.
        fraction: of signal in the stream; `tan.AS_IT_IS` for the data set's own.
        seed: of the split and the order.

    Raises:
        DataError: there is too little signal for the fraction.
    """
    x, label = _labelled(dataset)
    order = np.random.default_rng(seed).permutation(len(x))
    streamed, tested = order[: len(x) // 2], order[len(x) // 2 :]
    if fraction is not None:
        signal, background = (streamed[label[streamed] == kind] for kind in (1, 0))
        n_signal = round(fraction / (1 - fraction) * len(background))
        if n_signal > len(signal):
            raise DataError(
                f"{dataset}: expected at least {n_signal} signal events in half of the events; "
                f"got {len(signal)}: ask for a smaller signal fraction"
            )
        # Background keeps its order; the signal that is too much is left out.
        streamed = streamed[~np.isin(streamed, signal[n_signal:])]
    return tan.Split(
        LHCO, x[streamed], int(label[streamed].sum()), x[tested], label[tested].astype(np.uint8)
    )


def _labelled(dataset: str) -> tuple[tan.Events, tan.Labels]:
    """Returns the events inside the support, with labels."""
    if dataset == STANDIN:
        x, label = StandinDensity().sample(*STANDIN_EVENTS, seed=1)
        x, label = np.asarray(x, np.float32), np.asarray(label, np.uint8)
    else:
        events, label = labelled_file(dataset)
        x = events.x
    inside = LHCO.in_support(x)
    return x[inside], label[inside]


def _head(name: str, quick: bool, options: Mapping[str, str]) -> dict[str, Any]:
    head = describe(name, {}, datetime.now(UTC))
    said = "".join(f" --{option} {Path(value).name}" for option, value in options.items())
    head["command"] = f"onlineflows bench {name}{' --quick' if quick else ''}{said}"
    return head
