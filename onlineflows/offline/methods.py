"""The table of offline methods, and one way to run any of them.

A new method is a function of `inputs.Method`'s form and one line here; `search` runs and rates it,
`bench search` and `validate` find it by its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from onlineflows.errors import DataError
from onlineflows.offline.anode import anode, anode_marginal, density_score
from onlineflows.offline.cathode import cathode, idealised, supervised
from onlineflows.offline.cwola import cwola, cwola_ratio
from onlineflows.offline.inputs import Method, MethodConfig, MethodInputs, Training, nobody
from onlineflows.offline.scores import Evaluation, MethodResult, average, rate_score
from onlineflows.offline.tan import tan


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the table.

    Args:
        method: what learns.
        title: its name in reports.
        events: roles of the events that it takes.
        densities: roles of the densities that it takes.
        has_classifier: whether it trains trees, so that its result depends on the generator.
    """

    method: Method
    title: str
    events: tuple[str, ...] = ()
    densities: tuple[str, ...] = ()
    has_classifier: bool = True

    def runs_on(self, inputs: MethodInputs) -> bool:
        """Returns whether the inputs hold all that it takes."""
        return set(self.events) <= set(inputs.events) and set(self.densities) <= set(
            inputs.densities
        )

    def n_models(self, config: MethodConfig) -> int:
        """Returns how often `progress` will be called."""
        return config.trees.n_models if self.has_classifier else 0


METHODS: Mapping[str, Entry] = MappingProxyType(
    {
        "cwola": Entry(cwola, "CWoLa", events=("data",)),
        "cwola_ratio": Entry(
            cwola_ratio, "CWoLa by quadrature", densities=("data",), has_classifier=False
        ),
        "anode": Entry(anode, "ANODE", densities=("data", "background"), has_classifier=False),
        "anode_marginal": Entry(
            anode_marginal,
            "ANODE by quadrature",
            densities=("data", "background"),
            has_classifier=False,
        ),
        "cathode": Entry(cathode, "CATHODE", events=("data",), densities=("background",)),
        "density": Entry(
            density_score, "bits per dimension", densities=("data",), has_classifier=False
        ),
        "tan": Entry(tan, "Tan's ratio", densities=("data", "background"), has_classifier=False),
        "idealised": Entry(idealised, "idealised anomaly detection", events=("data", "background")),
        "supervised": Entry(supervised, "supervised", events=("signal", "background")),
    }
)
"""Every method by its name in configurations and reports."""


def search(
    name: str,
    inputs: MethodInputs,
    evaluation: Evaluation,
    *,
    config: MethodConfig,
    rng: np.random.Generator,
    trainings: int = 1,
    progress: Callable[[], None] = nobody,
) -> MethodResult:
    """Returns what a method achieves on the evaluation events of the signal region.

    Args:
        name: of a line of `METHODS`.
        inputs: what it learns from.
        evaluation: truth-labelled events that nothing was trained on.
        config: regions, classifier, floor.
        rng: draws folds, seeds and samples.
        trainings: how often it is trained; with more than one, the result is the mean and its
            errors are the standard deviation over trainings, else those of the evaluation set. A
            method without classifier always gives the same.
        progress: called after each classifier.

    Raises:
        TooFewEventsError: there is nothing to learn from.
        DataError: inputs are missing or have other features than the evaluation events.
    """
    entry = METHODS[name]
    for role, x in inputs.events.items():
        if x.shape[1] != evaluation.x.shape[1]:
            raise DataError(
                f"events {role!r}: expected the features of the evaluation events; "
                f"got {x.shape} and {evaluation.x.shape}"
            )
    tested = evaluation.within(config.regions)
    results = []
    for generator in rng.spawn(trainings if entry.has_classifier else 1):
        trained = entry.method(inputs, Training(config, generator, progress))
        rated = rate_score(
            trained.score(tested.x), tested.label, min_background=config.min_background
        )
        results.append(replace(rated, n_train_sr=trained.n_train_sr, n_train_sb=trained.n_train_sb))
    return results[0] if len(results) == 1 else average(results)


def best_possible(evaluation: Evaluation, config: MethodConfig) -> MethodResult | None:
    """Returns what the exact likelihood ratio achieves; None where it isn't known."""
    tested = evaluation.within(config.regions)
    if tested.optimum is None:
        return None
    return rate_score(tested.optimum, tested.label, min_background=config.min_background)


def learned_nothing(evaluation: Evaluation, config: MethodConfig) -> MethodResult:
    """Returns what a constant score achieves, AUC 1/2 and SIC 1: where events were too few."""
    tested = evaluation.within(config.regions)
    nothing = np.zeros(len(tested.label))
    return rate_score(nothing, tested.label, min_background=config.min_background)
