"""`onlineflows bench search`: searches on data, on a snapshot and on stored events of its size."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from onlineflows.bench import decorrelation, search
from onlineflows.bench.decorrelation import decorrelation_tables
from onlineflows.bench.machine import describe
from onlineflows.bench.search import SearchSetting
from onlineflows.bench.search_table import search_tables
from onlineflows.bench.stored import Passes
from onlineflows.bench.study import Row
from onlineflows.bench.table import Table
from onlineflows.cli.config import Config, load_config
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.cli.search_data import STANDIN, dataset_name, open_file, open_standin
from onlineflows.cli.study import run_cells, show
from onlineflows.offline.inputs import MethodConfig

FRACTIONS = (0.01, 0.003, 0.001)
SEEDS = (1, 2, 3)
N_EVENTS = 1_000_000
FLOOR = 25
"""Background events left at least, where a file has few."""
FILE_SAMPLES = 4_000_000
"""Samples at most where a file has few events: ten for each of 400,000."""
QUICK_OVERRIDES = (
    "flow.blocks=1",
    "flow.hidden=8",
    "buffer.capacity=4096",
    "preprocess.fit_events=1000",
    "validate.test_background=6000",
    "validate.test_signal=1000",
    "validate.min_background=25",
    "validate.folds=2",
    "validate.n_samples=0",
    "snapshot.manifest_nbytes=65536",
    "validate.draws=2",
)


def search_study(
    output: Output,
    *,
    name: str,
    quick: bool,
    jobs: int,
    target: Path | None,
    dataset: str,
    config_path: Path,
) -> int:
    """Measures what isn't recorded yet and prints; returns the exit code.

    Args:
        output: how to print.
        name: "search", or "decorrelation": the same with shifted masses and without.
        quick: sizes that only show that everything runs.
        jobs: processes.
        target: the record, which is resumed; None for none.
        dataset: "standin", or a file of LHC Olympics features with labels.
        config_path: which models the snapshot holds, and the settings of validation.
    """
    config = load_config(config_path, QUICK_OVERRIDES if quick else ())
    setting = search_setting(config, dataset, quick=quick)
    n_events = 8000 if quick else N_EVENTS if dataset == STANDIN else 0
    opened = (
        functools.partial(open_standin, config.validate, n_events)
        if dataset == STANDIN
        else functools.partial(open_file, dataset, config.validate, n_events)
    )
    head = describe(name, {}, datetime.now(UTC))
    options = f"{' --quick' if quick else ''} --dataset {Path(dataset).name}"
    head["command"] = f"onlineflows bench {name}{options} --config {config_path}"
    study = decorrelation if name == "decorrelation" else search
    run = functools.partial(study.measure, opened, setting)
    rows = run_cells(study.keys(setting), run, output, head=head, target=target, jobs=jobs)
    if not output.as_json:
        show(study_tables(name)(rows))
    return DONE


def search_setting(config: Config, dataset: str, *, quick: bool) -> SearchSetting:
    """Returns the sizes of the study."""
    settings = config.validate
    method, n_samples = MethodConfig.from_settings(settings), settings.n_samples
    if dataset != STANDIN:
        method = dataclasses.replace(method, min_background=FLOOR)
        n_samples = min(n_samples, FILE_SAMPLES)
    return SearchSetting(
        dataset=dataset_name(dataset),
        signal_fractions=(0.1,) if quick else FRACTIONS,
        seeds=SEEDS[:1] if quick else SEEDS,
        draws=settings.draws,
        learner=config.learner,
        snapshot=config.snapshot,
        method=method,
        n_samples=n_samples,
        passes=Passes(uses=(2,)) if quick else Passes(),
    )


def study_tables(name: str) -> Callable[[Sequence[Row]], list[Table]]:
    """Returns what makes tables of a study's rows."""
    return decorrelation_tables if name == "decorrelation" else search_tables
