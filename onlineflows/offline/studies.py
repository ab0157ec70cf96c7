"""What each part of a validation computes: from the material to a plain document."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from onlineflows.density import AnyDensity
from onlineflows.errors import DataError, OnlineFlowsError, TooFewEventsError
from onlineflows.offline.closure import ClosureConfig, Judge, Known, closures
from onlineflows.offline.inputs import (
    Events,
    MethodConfig,
    MethodInputs,
    Scores,
    Trained,
    Training,
)
from onlineflows.offline.likeness import LikenessConfig, likeness
from onlineflows.offline.material import Material
from onlineflows.offline.methods import METHODS, learned_nothing, search
from onlineflows.offline.parts import Document, Part, result_document
from onlineflows.offline.regions import Regions
from onlineflows.offline.scores import MethodResult, rate_score
from onlineflows.offline.searches import Search, Yields, snapshot_searches, stored_searches
from onlineflows.offline.spectra import hunts
from onlineflows.settings import ValidateConfig

Study = Callable[..., Document]

NOT_POSSIBLE = "not_possible"
"""Key under which a document says why there is none."""


def run_part(part: Part, material: Material, settings: ValidateConfig) -> Document:
    """Returns a part's document, with the wall time in it.

    A part that the events don't allow says so in its document; the others go on. Only the plain
    comparison on data and samples must be possible.

    Raises:
        OnlineFlowsError: from the parts without which there is no report.
    """
    began = time.perf_counter()
    try:
        document = STUDIES[part.kind](material, settings, **part.arguments)
    except OnlineFlowsError as error:
        if part.kind == "curve":
            raise
        document = {NOT_POSSIBLE: str(error)}
    return {**document, "seconds": time.perf_counter() - began}


def curve(material: Material, settings: ValidateConfig, *, on: str) -> Document:
    """CWoLa on the data or on samples of the snapshot; of the latter also what it finds.

    Without truth-labelled events it isn't rated, and finds what it finds all the same. The
    classifier that was trained on samples is applied to events that it wasn't trained on: the data,
    and fresh samples.
    """
    config = MethodConfig.from_settings(settings)
    index = ("data", "snapshot").index(on)
    # `search` spawns a generator for each training: the first one, here as there.
    (rng,) = _generators(settings)[index].spawn(1)
    trained = METHODS["cwola"].method(
        MethodInputs(events={"data": material.inputs(on).events_of("data")}), Training(config, rng)
    )
    document: Document = {}
    if material.evaluation is not None:
        document["result"] = result_document(_rated(trained, material, config))
    if on == "snapshot":
        document["hunts"] = hunts(material, settings, trained.score)
    return document


def byte_equal(material: Material, settings: ValidateConfig, *, draw: int) -> Document:
    """CWoLa on a random draw of as many events as fit into the snapshot's size."""
    config = MethodConfig.from_settings(settings)
    tested = material.tested(config.regions)
    rng = _generators(settings)[2 + draw]
    rows = rng.choice(len(material.data), size=material.n_byte_equal, replace=False)
    inputs = MethodInputs(events={"data": material.data[rows]})
    try:
        result = search("cwola", inputs, tested, config=config, rng=rng)
    except TooFewEventsError:
        result = learned_nothing(tested, config)
    return {"result": result_document(result), "n_events": len(rows)}


def method(
    material: Material, settings: ValidateConfig, *, name: str, on: str, training: int
) -> Document:
    """A method of the table, trained once."""
    config = MethodConfig.from_settings(settings)
    rng = np.random.default_rng([settings.seed, *f"{name} {on}".encode(), training])
    tested = material.tested(config.regions)
    result = search(name, material.inputs(on), tested, config=config, rng=rng)
    return {"result": result_document(result)}


def background_closure(material: Material, settings: ValidateConfig) -> Document:
    """Estimates of the background beside its true number, for CWoLa on samples of the snapshot.

    Raises:
        DataError: the snapshot has no model of the background or the data have no truth.
    """
    background = material.densities.get("background")
    if background is None or material.truth is None:
        raise DataError("expected a model of the sidebands and data with truth labels; got none")
    config = MethodConfig.from_settings(settings)
    rng = np.random.default_rng([settings.seed, *b"closure"])
    inputs = MethodInputs(events={"data": material.samples})
    trained = METHODS["cwola"].method(inputs, Training(config, rng))
    tested = material.tested(config.regions)
    data = material.densities.get("data")
    log_ratio = None if data is None else partial(anode_ratio, data, background)
    judge = Judge(trained.score, background, log_ratio)
    lines = closures(
        Known(material.data, material.truth == 0, tested.x[tested.label == 0]),
        [judge],
        ClosureConfig(signal_region=settings.signal_region, fit_range=settings.fit_range),
        rng,
    )
    return {
        "lines": [
            {
                "method": line.method,
                "efficiency": line.efficiency,
                "predicted": [line.predicted.value, line.predicted.error],
                "true": [line.true.value, line.true.error],
                "ratio": [line.ratio.value, line.ratio.error],
            }
            for line in lines
        ]
    }


def anode_ratio(data: AnyDensity, background: AnyDensity, x: Events) -> Scores:
    """Returns ln p_data(x' | m) / p_bg(x' | m), shape (n,)."""
    return data.log_prob_conditional(x) - background.log_prob_conditional(x)


def stored(material: Material, settings: ValidateConfig, *, n_events: int, draws: int) -> Document:
    """CWoLa on random draws of so many stored events."""

    def draw(n: int, rng: np.random.Generator) -> Events:
        return material.data[rng.choice(len(material.data), size=n, replace=False)]

    search = _searching(material, settings)
    found = stored_searches(draw, search, sizes=(n_events,), n_draws=draws, seed=settings.seed)
    return {"n_events": n_events, "sic": found.sic[0].tolist()}


def sampled(material: Material, settings: ValidateConfig, *, training: int) -> Document:
    """CWoLa on samples of the snapshot, with samples and a training of its own.

    Of a model of a window, what its samples hold is scaled by the window's share of the data.

    Raises:
        DataError: the snapshot has no model of the data in the signal region.
    """
    density = material.densities.get("data")
    if density is None:
        raise DataError("expected a model of the data in the snapshot; got none")
    regions = Regions(settings.signal_region, settings.sidebands)
    found = snapshot_searches(
        lambda n, rng: density.sample(n, int(rng.integers(2**31))),
        _searching(material, settings),
        yields=yields_of(material, settings),
        in_region=lambda x: regions.in_signal_region(x[:, 0]),
        n_seen=len(material.data),
        n_samples=len(material.samples),
        n_trainings=1,
        seed=settings.seed + training,
        share=len(material.data_of_samples) / len(material.data),
    )
    columns = {
        "sic": found.sic,
        "significance": found.significance,
        "signal_kept": found.signal_kept,
    }
    return {name: [_finite(value) for value in values] for name, values in columns.items()}


def alike(material: Material, settings: ValidateConfig) -> Document:
    """Two-sample tests of samples of the snapshot against the data.

    The snapshot has seen these data; among so many the share of a single event in it is small.
    """
    found = likeness(
        material.data_of_samples,
        material.fresh,
        material.schema.names,
        config=LikenessConfig(trees=MethodConfig.from_settings(settings).trees),
        rng=np.random.default_rng([settings.seed, *b"likeness"]),
    )
    return found.document()


def yields_of(material: Material, settings: ValidateConfig) -> Yields:
    """Returns the shares of signal and background in the signal region; 0 of unknown signal."""
    regions = Regions(settings.signal_region, settings.sidebands)
    inside = regions.in_signal_region(material.data[:, 0])
    if material.truth is None:
        return Yields(0.0, float(inside.mean()))
    is_signal = material.truth == 1
    return Yields(float((inside & is_signal).mean()), float((inside & ~is_signal).mean()))


def _searching(material: Material, settings: ValidateConfig) -> Search:
    config = MethodConfig.from_settings(settings)

    def train(x: Events, rng: np.random.Generator) -> Callable[[Events], Scores]:
        inputs = MethodInputs(events={"data": x})
        return METHODS["cwola"].method(inputs, Training(config, rng)).score

    return Search(train, material.tested(config.regions), config.min_background)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _generators(settings: ValidateConfig) -> list[np.random.Generator]:
    """Random numbers of the plain comparison: data, snapshot, then each draw."""
    seeds = np.random.SeedSequence(settings.seed).spawn(2 + settings.draws)
    return [np.random.default_rng(seed) for seed in seeds]


def _rated(trained: Trained, material: Material, config: MethodConfig) -> MethodResult:
    tested = material.tested(config.regions)
    rated = rate_score(trained.score(tested.x), tested.label, min_background=config.min_background)
    return replace(rated, n_train_sr=trained.n_train_sr, n_train_sb=trained.n_train_sb)


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "curve": curve,
        "byte_equal": byte_equal,
        "method": method,
        "closure": background_closure,
        "stored": stored,
        "sampled": sampled,
        "likeness": alike,
    }
)
"""Every kind of part."""
