"""What the user says of the producer: where events come from and how fast. Loads no reader."""

import math
from dataclasses import dataclass, field
from typing import Literal

from streams.errors import InputError
from streams.settings import require_at_least


@dataclass(frozen=True, slots=True)
class StandinConfig:
    """The built-in stand-in for LHCO: a closed-form density (see `replay.sources.standin`).

    Args:
        n_events: events in the stream; 0 for an endless one.
        signal_fraction: probability that an event is signal.
        seed: generator seed; the same seed gives the same events.
    """

    type: Literal["standin"] = "standin"
    n_events: int = 1_000_000
    signal_fraction: float = 0.01
    seed: int = 1


@dataclass(frozen=True, slots=True)
class SelectionConfig:
    """Which rows of the files make the stream, in which order. Shared by all file sources.

    Args:
        first_row, end_row: half-open range of rows over all files together; end_row None for all.
        signal_fraction: thin signal or background at random until this fraction is signal; None
            takes the files as they are. Needs truth labels.
        shuffle: whether to shuffle the rows (in blocks of bounded memory).
        seed: seed of the shuffle and of the thinning.
    """

    first_row: int = 0
    end_row: int | None = None
    signal_fraction: float | None = None
    shuffle: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class LhcoFeaturesConfig:
    """LHC Olympics feature files: pandas-fixed HDF5 with 14 jet columns and maybe a label.

    Args:
        paths: files in the order of the stream; ``*`` and ``?`` are patterns.
        key: name of the frame.
        selection: which rows, in which order.
    """

    type: Literal["lhco_features"]
    paths: tuple[str, ...] | str
    key: str = "df"
    selection: SelectionConfig = field(default_factory=SelectionConfig)


@dataclass(frozen=True, slots=True)
class LhcoParticlesConfig:
    """LHC Olympics particle files: 700 x (pT, eta, phi) and maybe a label; clusters jets.

    Args:
        paths: files in the order of the stream; ``*`` and ``?`` are patterns.
        key: name of the frame.
        jet_radius: radius R of the anti-kT jets.
        min_leading_pt_gev: events without a leading jet above this pT are not selected.
        selection: which rows, in which order.
    """

    type: Literal["lhco_particles"]
    paths: tuple[str, ...] | str
    key: str = "df"
    jet_radius: float = 1.0
    min_leading_pt_gev: float = 1200.0
    selection: SelectionConfig = field(default_factory=SelectionConfig)


@dataclass(frozen=True, slots=True)
class RootFeatureConfig:
    """One feature read from ROOT.

    Args:
        name: the feature's name in the schema.
        expression: what to compute; see `replay.sources.expressions`.
        unit, low, high: as in `streams.Feature`.
    """

    name: str
    expression: str
    unit: str = ""
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class RootConfig:
    """A TTree or an RNTuple, read through uproot.

    Args:
        paths: files in the order of the stream; ``*`` and ``?`` are patterns.
        tree: name of the tree.
        features: the table of expressions; the first is the resonant variable.
        cut: expression that selected events satisfy; empty for all.
        label: expression of the truth label; empty where there is none.
        dijet: prefix of a jet collection (``FatJet``): defines the five LHCO observables from
            the two leading jets, in place of `features`.
        event_id: expressions that identify an event together, such as run, luminosityBlock and
            event: one that comes again is bad. Empty where nobody looks.
        order: one or two expressions that never fall from row to row, such as run and
            luminosityBlock: a row that belongs earlier is bad. Empty where nobody looks.
        selection: which rows, in which order.
    """

    type: Literal["root"]
    paths: tuple[str, ...] | str
    tree: str = "Events"
    features: tuple[RootFeatureConfig, ...] = ()
    cut: str = ""
    label: str = ""
    dijet: str = ""
    event_id: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    def __post_init__(self) -> None:
        if len(self.order) > 2:
            raise InputError(
                f"source.order: expected at most two expressions; got {len(self.order)}"
            )


SourceConfig = StandinConfig | LhcoFeaturesConfig | LhcoParticlesConfig | RootConfig


@dataclass(frozen=True, slots=True)
class PacingConfig:
    """When events are sent.

    Args:
        arrivals: "asap" (as fast as credit allows), "constant" (equal gaps), "poisson", or "ramp":
            Poisson arrivals at `rate_hz` for the first half of each period, then up to
            `peak_hz` and back in a quarter each.
        rate_hz: mean rate of events before the speed factor.
        speed: multiplies the rate.
        seed: seed of the Poisson arrivals.
        peak_hz: mean rate at the top of a ramp, before the speed factor.
        period_s: length of a ramp's period.
    """

    arrivals: Literal["asap", "constant", "poisson", "ramp"] = "asap"
    rate_hz: float = 100_000.0
    speed: float = 1.0
    seed: int = 1
    peak_hz: float = 1_000_000.0
    period_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("rate_hz", "speed", "peak_hz", "period_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(
                    f"pacing.{name}: expected a positive, finite number; got {getattr(self, name)}"
                )
        require_at_least(0, "pacing.seed", self.seed)


@dataclass(frozen=True, slots=True)
class QuarantineConfig:
    """Events that can't be used, kept in a file for inspection.

    Args:
        path: a Parquet file to write, relative to the current folder; empty for none. It holds
            events: only its owner may read it.
        limit: how many are kept, the first ones.
    """

    path: str = ""
    limit: int = 10_000

    def __post_init__(self) -> None:
        require_at_least(1, "quarantine.limit", self.limit)


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """What is one run of the producer.

    Args:
        run: the run's number.
        lumisection_events: event indices per lumisection.
        verify: whether to read all files once more at the end of the run, and to end it as
            ABORTED where a digest isn't the one of its begin. Size and time of a file are
            compared with each block that is read in any case.
    """

    run: int = 1
    lumisection_events: int = 100_000
    verify: bool = False

    def __post_init__(self) -> None:
        require_at_least(0, "replay.run", self.run)
        require_at_least(1, "replay.lumisection_events", self.lumisection_events)
