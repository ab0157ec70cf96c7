"""What the user says of the producer: where events come from and how fast. Loads no reader."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from streams.errors import InputError
from streams.settings import require_at_least

MAX_RATE_HZ = 1e12
"""More events per second than any machine can send."""
_USED: dict[str, tuple[str, ...]] = {
    "asap": (),
    "constant": ("rate_hz", "speed"),
    "recorded": ("speed",),
    "poisson": ("rate_hz", "speed"),
    "ramp": ("rate_hz", "speed", "peak_hz", "period_s"),
    "bursts": ("rate_hz", "speed", "peak_hz", "period_s", "burst_s"),
    "fill": ("rate_hz", "speed"),
}
"""Which numbers each kind of arrivals heeds."""

MAX_NAME_LENGTH = 60
MAX_PRESCALE = 1_000_000_000


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
        time: expression of the time in seconds when an event was recorded, on any clock, such as
            ``luminosityBlock * 23.31``; for ``pacing.arrivals = "recorded"``. Empty where there
            is none. See `replay.sources.clock` for what becomes of times that fall.
        time_step_s: length of the clock's steps: events that share a time are spread evenly over
            it. 0 for all at once.
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
    time: str = ""
    time_step_s: float = 0.0
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    def __post_init__(self) -> None:
        _require_not_negative("source", self, "time_step_s")
        if self.time and self.selection.shuffle:
            raise InputError(
                "source.time: expected rows in the order of their times; got "
                "source.selection.shuffle = true; leave one of them out"
            )
        if len(self.order) > 2:
            raise InputError(
                f"source.order: expected at most two expressions; got {len(self.order)}"
            )


SourceConfig = StandinConfig | LhcoFeaturesConfig | LhcoParticlesConfig | RootConfig


@dataclass(frozen=True, slots=True)
class FillConfig:
    """LHC fills as a profile of rates (see `replay.fill`). Times are those of the profile.

    Args:
        decay: "exponential", or "burn_off": 1 / (1 + t / lifetime)^2.
        lifetime_s: the lifetime in it; 14.9 h for the LHC's design.
        level_s: how long the luminosity is levelled before it decays.
        stable_s: length of a fill.
        turnaround_s: time without collisions from one fill to the next.
        lumisection_s: the rate is constant for so long; 2^18 orbits at CMS. The lumisections of
            the ledger are counted in events (`replay.lumisection_events`) all the same.
        orbit_s: length of an orbit, to resolve bunch trains and abort gap: 88.9 microseconds
            really, far shorter than a tick of 5 ms, so that longer ones are needed to see them.
            0 for not resolved.
    """

    decay: Literal["exponential", "burn_off"] = "exponential"
    lifetime_s: float = 53_640.0
    level_s: float = 0.0
    stable_s: float = 43_200.0
    turnaround_s: float = 25_200.0
    lumisection_s: float = 23.31
    orbit_s: float = 0.0

    def __post_init__(self) -> None:
        _require_positive("pacing.fill", self, "lifetime_s", "stable_s", "lumisection_s")
        _require_not_negative("pacing.fill", self, "level_s", "turnaround_s", "orbit_s")


@dataclass(frozen=True, slots=True)
class PacingConfig:
    """When events are sent. docs/rates.md shows the profiles.

    Args:
        arrivals: "asap" (as fast as credit allows), "constant" (equal gaps), "recorded" (as the
            source's times say; see `RootConfig.time`), or Poisson arrivals with a mean rate:
            "poisson" (`rate_hz`), "ramp" (`rate_hz` for the first half of each period, then up to
            `peak_hz` and back in a quarter each), "bursts" (each period begins with one), or
            "fill" (LHC fills that begin with `rate_hz`).
        rate_hz: mean rate of events before the speed factor; between bursts it may be 0.
        speed: how many seconds of the profile, or of the recording, pass in one second: rates are
            multiplied by it, and periods, bursts, lifetimes and recorded times divided.
        seed: seed of the Poisson arrivals.
        peak_hz: mean rate at the top of a ramp or in a burst, before the speed factor.
        period_s: length of the period of ramps and bursts.
        burst_s: length of a burst.
        fill: shape of the fills.
    """

    arrivals: Literal["asap", "constant", "poisson", "ramp", "bursts", "fill", "recorded"] = "asap"
    rate_hz: float = 100_000.0
    speed: float = 1.0
    seed: int = 1
    peak_hz: float = 1_000_000.0
    period_s: float = 60.0
    burst_s: float = 1.0
    fill: FillConfig = field(default_factory=FillConfig)

    def __post_init__(self) -> None:
        _require_positive("pacing", self, "speed", "peak_hz", "period_s", "burst_s")
        if self.arrivals == "bursts":
            _require_not_negative("pacing", self, "rate_hz")
            if self.burst_s > self.period_s:
                raise InputError(
                    f"pacing.burst_s: expected at most pacing.period_s = {self.period_s}; got "
                    f"{self.burst_s}"
                )
        else:
            _require_positive("pacing", self, "rate_hz")
        for name in _USED[self.arrivals]:
            if name.endswith("_hz") and getattr(self, name) * self.speed > MAX_RATE_HZ:
                raise InputError(
                    f"pacing.{name}: expected at most {MAX_RATE_HZ:g} after the speed factor; "
                    f"got {getattr(self, name)} * {self.speed}"
                )
        require_at_least(0, "pacing.seed", self.seed)

    @property
    def unheeded(self) -> tuple[str, ...]:
        """Numbers that differ from their defaults, and that these arrivals don't heed.

        Example:
            >>> PacingConfig(rate_hz=100.0).unheeded
            ('rate_hz',)
            >>> PacingConfig(arrivals="constant", rate_hz=100.0).unheeded
            ()
        """
        numbers = {f.name: f.default for f in fields(self) if f.name in _USED["bursts"]}
        return tuple(
            name
            for name, default in numbers.items()
            if getattr(self, name) != default and name not in _USED[self.arrivals]
        )


@dataclass(frozen=True, slots=True)
class PrescaleConfig:
    """A selection of which one event in so many is sent, by chance.

    An event belongs to the first selection that it passes; one that passes none is sent.

    Args:
        name: the selection's name in all accounts.
        select: an expression over the schema's features, such as ``mjj < 2.5 and tau21_j1 > 0.1``
            (`replay.sources.expressions`, without lists); empty for all events that are left.
        keep: one in so many is sent; 1 for all, to count them.
    """

    name: str
    select: str = ""
    keep: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME_LENGTH:
            raise InputError(
                f"prescales.name: expected 1 to {MAX_NAME_LENGTH} characters; got {self.name!r}"
            )
        if not 1 <= self.keep <= MAX_PRESCALE:
            raise InputError(
                f"prescales.{self.name}.keep: expected one in 1 to {MAX_PRESCALE:,}; got "
                f"{self.keep}"
            )


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


def _require_positive(section: str, settings: Any, *names: str) -> None:
    """Refuses settings that aren't positive, finite numbers."""
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise InputError(
                f"{section}.{name}: expected a positive, finite number; got "
                f"{getattr(settings, name)}"
            )


def _require_not_negative(section: str, settings: Any, *names: str) -> None:
    """Refuses settings that are negative, infinite or no numbers."""
    for name in names:
        if not 0 <= getattr(settings, name) < math.inf:
            raise InputError(
                f"{section}.{name}: expected 0 or a positive, finite number; got "
                f"{getattr(settings, name)}"
            )
