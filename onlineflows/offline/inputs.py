"""What a method is given, how it is set, and what it hands back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import AnyDensity
from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.regions import Regions
from onlineflows.settings import ValidateConfig

Events = NDArray[np.floating[Any]]
Scores = NDArray[np.float64]

Mass = Literal["left_out", "removed", "input"]


def nobody() -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodInputs:
    """Events and densities by the role that they play; a method takes those that it needs.

    Whether a method runs on data or on a snapshot is decided here: its events may be stored ones
    or samples, its densities those of one model or of an ensemble.

    Args:
        events: by role, each of shape (n, d), the resonant feature first, in the schema's units.
            "data": unlabelled events of the whole spectrum. "signal", "background": of known
            truth, for the ceilings.
        densities: by role. "data": of all events, or of those in a window that holds the signal
            region (and the sidebands where the method needs them). "background": learned outside
            the signal region and interpolated into it.

    Example:
        >>> MethodInputs(events={"data": np.zeros((3, 2))}).events_of("data").shape
        (3, 2)
    """

    events: Mapping[str, Events] = field(default_factory=dict)
    densities: Mapping[str, AnyDensity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role, x in self.events.items():
            if x.ndim != 2 or x.shape[1] < 2:
                raise DataError(
                    f"events {role!r}: expected shape (n, d) with at least two features; "
                    f"got {x.shape}"
                )

    def events_of(self, role: str) -> Events:
        """Returns the events of a role.

        Raises:
            DataError: there are none.
        """
        if role not in self.events:
            raise DataError(f"expected events {role!r}; got those of {sorted(self.events)}")
        return self.events[role]

    def density_of(self, role: str) -> AnyDensity:
        """Returns the density of a role.

        Raises:
            DataError: there is none.
        """
        if role not in self.densities:
            raise DataError(f"expected a density {role!r}; got those of {sorted(self.densities)}")
        return self.densities[role]


@dataclass(frozen=True, slots=True)
class MethodConfig:
    """What a method needs to know beside events and densities.

    Args:
        regions: signal region and sidebands.
        trees: settings of the classifier.
        min_background: floor of background events for the SIC.
        mass: what a classifier learns of the resonant feature m. "left_out": nothing. "removed":
            nothing either, and the linear trend with m, as fitted outside the signal region (or on
            background samples), is subtracted from every other feature. "input": m is a feature;
            only where both classes have the same m.
        oversample: background samples per event of the signal region (CATHODE).
        nodes: points of the quadrature over m, per interval.
        fiducial: fraction of the background, at both ends of each feature, where ANODE selects
            nothing.
    """

    regions: Regions = field(default_factory=Regions)
    trees: TreesConfig = field(default_factory=TreesConfig)
    min_background: int = 100
    mass: Mass = "left_out"
    oversample: float = 4.0
    nodes: int = 8
    fiducial: float = 0.0

    def __post_init__(self) -> None:
        if self.oversample <= 0 or self.nodes < 1 or not 0 <= self.fiducial < 0.5:
            raise ConfigError(
                "expected oversample > 0, nodes >= 1 and a fiducial fraction in [0, 0.5); got "
                f"{self.oversample}, {self.nodes} and {self.fiducial}"
            )

    @classmethod
    def from_settings(cls, settings: ValidateConfig) -> Self:
        """Returns the part of the validation settings that concerns a method."""
        return cls(
            regions=Regions(settings.signal_region, settings.sidebands),
            trees=TreesConfig(folds=settings.folds, threads=settings.threads),
            min_background=settings.min_background,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a method has learned.

    Args:
        score: of any events (n, d) the scores (n,): finite, higher is more signal-like. Meant for
            the signal region; a density method is lowest where its densities have no support.
        n_train_sr: training events in the signal region; 0 for a method without a classifier.
        n_train_sb: training events of the other class.
    """

    score: Callable[[Events], Scores]
    n_train_sr: int = 0
    n_train_sb: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """One training of a method.

    Args:
        config: regions, classifier, quadrature.
        rng: draws folds, seeds and samples.
        progress: called after each classifier; `methods.Entry.n_models` says how many there are.
    """

    config: MethodConfig
    rng: np.random.Generator
    progress: Callable[[], None] = nobody


class Method(Protocol):
    """Learns from unlabelled events or from densities; the ceilings from truth labels."""

    def __call__(self, inputs: MethodInputs, training: Training, /) -> Trained:
        """Returns what can score events.

        Raises:
            TooFewEventsError: there is nothing to learn from.
            DataError: inputs are missing or don't fit.
        """
        ...
