"""Which parts a validation has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onlineflows.errors import ConfigError
from onlineflows.offline.material import Material
from onlineflows.offline.methods import METHODS
from onlineflows.offline.parts import Part
from onlineflows.settings import ValidateConfig

Preset = Literal["quick", "full"]

TRAININGS = {"quick": 1, "full": 5}
"""How often a method with a classifier is trained."""
DRAWS = {"quick": 2, "full": 5}
"""Draws of each number of stored events, and searches on samples, for the compression."""
SIZES = {"quick": 4, "full": 8}
"""Numbers of stored events."""
CEILINGS = ("idealised", "supervised")
FEWEST_STORED = 2000
SCORING = 3
"""Cost of applying a classifier to data and fresh samples, in trained classifiers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Args:
        preset: "quick", the comparison and what costs little; "full", everything.
        methods: names of the table; empty for those of the preset.
        compression: whether the equivalent trigger fraction is measured; always with "full".
    """

    preset: Preset = "quick"
    methods: tuple[str, ...] = ()
    compression: bool = False

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in METHODS:
                raise ConfigError(f"--method: expected one of {', '.join(METHODS)}; got {name!r}")


def plan(wanted: Wanted, material: Material, settings: ValidateConfig) -> list[Part]:
    """Returns the parts of a validation, the longest first.

    Without truth-labelled events they are those that need none.

    Args:
        wanted: what was asked for.
        material: decides which methods can run.
        settings: draws and folds.

    Raises:
        ConfigError: what was asked for by name can't run on what the snapshot holds, or can't be
            rated without truth labels.
    """
    folds = settings.folds
    if material.evaluation is None:
        return _unrated(wanted, folds)
    parts = [
        Part("cwola_data", "curve", {"on": "data"}, folds),
        Part("cwola_snapshot", "curve", {"on": "snapshot"}, folds * SCORING),
    ]
    if wanted.preset == "full":
        parts.append(Part("closure", "closure", {}, folds * SCORING))
        parts.append(Part("likeness", "likeness", {}, folds))
    parts += _methods(wanted, material, settings)
    if wanted.compression or wanted.preset == "full":
        parts += _compression(wanted, material, settings)
    draws = range(settings.draws)
    parts += [Part(f"byte_equal_{i}", "byte_equal", {"draw": i}, 1) for i in draws]
    return parts


def _unrated(wanted: Wanted, folds: int) -> list[Part]:
    named = [f"--method {name}" for name in wanted.methods]
    if wanted.compression:
        named.append("--compression")
    if named:
        raise ConfigError(
            f"{named[0]}: expected truth-labelled events, which searches are rated on; got none: "
            "name some in an [evaluation] section, or leave the option out"
        )
    return [
        Part("cwola_snapshot", "curve", {"on": "snapshot"}, folds * SCORING),
        Part("likeness", "likeness", {}, folds),
    ]


def _methods(wanted: Wanted, material: Material, settings: ValidateConfig) -> list[Part]:
    chosen: Sequence[str] = wanted.methods
    if not chosen and wanted.preset == "full":
        chosen = [name for name in METHODS if name not in CEILINGS]
    parts = []
    for name in chosen:
        entry = METHODS[name]
        places = [on for on in ("data", "snapshot") if entry.runs_on(material.inputs(on))]
        if not places and name in wanted.methods:
            raise ConfigError(
                f"--method {name}: expected events {entry.events} and densities "
                f"{entry.densities}; the snapshot has densities {tuple(material.densities)}: "
                "train a sideband model, or use `onlineflows bench search`"
            )
        trainings = TRAININGS[wanted.preset] if entry.has_classifier else 1
        cost = settings.folds if entry.has_classifier else 1
        parts += [
            Part(
                f"{name}_{on}_{training}",
                "method",
                {"name": name, "on": on, "training": training},
                cost,
            )
            for on in places
            for training in range(trainings)
        ]
    return parts


def _compression(wanted: Wanted, material: Material, settings: ValidateConfig) -> list[Part]:
    n_data = len(material.data)
    fewest = min(max(FEWEST_STORED, material.n_byte_equal // 2), n_data // 4)
    sizes = np.unique(np.geomspace(fewest, n_data, SIZES[wanted.preset]).round().astype(int))
    draws = DRAWS[wanted.preset]
    parts = [
        Part(f"sampled_{i}", "sampled", {"training": i}, settings.folds * 2) for i in range(draws)
    ]
    return parts + [
        Part(
            f"stored_{n}",
            "stored",
            {"n_events": int(n), "draws": draws},
            max(1, round(draws * settings.folds * n / n_data)),
        )
        for n in sizes[::-1]
    ]
