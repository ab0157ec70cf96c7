"""What an operator has asked of a running producer, and how it is told where that stands."""

from collections.abc import Callable
from dataclasses import replace

from replay.settings import PacingConfig
from streams.console import Console, Pulse
from streams.console_codec import plain
from streams.control import Reply, Request, Verb, refusal
from streams.errors import InputError
from streams.telemetry import ProducerTelemetry

LOOK_S = 0.05
"""How often requests are looked for."""

TELL_S = 0.5
"""How often telemetry is published."""

UNDERSTOOD: tuple[Verb, ...] = (
    "status", "pause", "resume", "step", "burst", "seek", "set-rate", "stop"
)  # fmt: skip


class Operator:
    """Keeps what was asked for; the producer's loop carries it out.

    Args:
        console: where requests come from; None where nobody can ask.
        pacing: of the configuration.
        clock: seconds that never go back.

    Attributes:
        pacing: as it is now.
        is_paused: whether nothing is to be sent beyond `step` and `burst`.
        wants_stop: whether the run is to end.
        seek_to: event index that the stream is to go on at; None for nowhere.
        has_new_pacing: whether the pacing was changed and not taken up yet.
    """

    def __init__(
        self, console: Console | None, pacing: PacingConfig, clock: Callable[[], float]
    ) -> None:
        self.pacing = pacing
        self.is_paused = False
        self.wants_stop = False
        self.seek_to: int | None = None
        self.has_new_pacing = False
        self._burst_end = 0
        self._n_steps = 0
        self._console = console
        self._clock = clock
        self._look, self._tell = Pulse(LOOK_S, clock()), Pulse(TELL_S, clock())
        self._n_told = 0

    # --- the daemon's loop -----------------------------------------------------------------

    def attend(self, standing: Callable[[int], ProducerTelemetry]) -> None:
        """Answers what has come and publishes what is due.

        Args:
            standing: returns where the producer stands, given the document's number.
        """
        now = self._clock()
        if self._console is None or not self._look.is_due(now):
            return
        for peer, request in self._console.requests():
            self._console.answer(peer, self._obey(request, standing(self._n_told)))
        if self._tell.is_due(now):
            self.publish(standing)

    def publish(self, standing: Callable[[int], ProducerTelemetry]) -> None:
        """Publishes where the producer stands, whether or not that is due."""
        if self._console is not None:
            self._console.publish(standing(self._n_told))
            self._n_told += 1

    def hurries(self, next_event: int) -> bool:
        """Returns whether the next event is to be sent now, whatever pause and pacing say."""
        return self._n_steps > 0 or next_event < self._burst_end

    def holds(self, next_event: int) -> bool:
        """Returns whether nothing is to be sent now."""
        return self.is_paused and not self.hurries(next_event)

    def stepped(self) -> None:
        """Says that a batch was sent."""
        self._n_steps = max(0, self._n_steps - 1)

    def forget_hurry(self) -> None:
        """Says that the stream went back: steps and bursts that were under way end."""
        self._n_steps = self._burst_end = 0

    # --- the verbs -------------------------------------------------------------------------

    def _obey(self, request: Request, now: ProducerTelemetry) -> Reply:
        amount = request.amount
        match request.verb:
            case "status":
                return Reply(True, now.state, plain(now))
            case "stop":
                self.wants_stop = True
                return Reply(True, f"the run ends at event {now.next_event:,}")
            case "pause":
                self.is_paused = True
                return Reply(True, f"paused at event {now.next_event:,}")
            case "resume":
                self.is_paused = False
                return Reply(True, f"goes on at event {now.next_event:,}")
            case "step" | "burst" if amount is not None and amount < 1:
                return Reply(False, f"{request.verb}: expected at least 1; got {amount:g}")
            case "step":
                self.is_paused = True
                self._n_steps += _whole(amount, 1)
                batches = "1 batch" if self._n_steps == 1 else f"{self._n_steps:,} batches"
                return Reply(True, f"paused; {batches} will be sent")
            case "burst" if amount is not None:
                self._burst_end = max(self._burst_end, now.next_event) + _whole(amount, 1)
                return Reply(True, f"events up to {self._burst_end:,} are sent at once")
            case "seek" if amount is not None:
                return self._seek(_whole(amount, 0), now)
            case "set-rate":
                return self._set_rate(amount)
            case "burst" | "seek":
                return Reply(False, f"{request.verb}: expected a number; got {amount}")
            case _:
                return refusal(request.verb, "producer", UNDERSTOOD)

    def _seek(self, event: int, now: ProducerTelemetry) -> Reply:
        if now.condition:
            return Reply(False, f"seek: the run has ended: {now.condition}")
        if event <= now.next_event:
            return Reply(
                False,
                f"seek: expected an event after {now.next_event:,}, the next one; got {event:,}: "
                "what has passed is accounted for, and comes again in another run only",
            )
        if now.n_events is not None and event > now.n_events:
            return Reply(
                False, f"seek: expected one of the stream's {now.n_events:,} events; got {event:,}"
            )
        self.seek_to = event
        return Reply(True, f"events before {event:,} are left out, and counted as `operator`")

    def _set_rate(self, rate_hz: float | None) -> Reply:
        if rate_hz is not None and rate_hz <= 0:
            return Reply(False, f"set-rate: expected a positive rate; got {rate_hz:g}: use pause")
        if self.pacing.arrivals == "recorded":
            return Reply(
                False,
                "set-rate: this stream comes as it was recorded; another pace takes "
                "another run, with pacing.speed or pacing.arrivals",
            )
        try:
            self.pacing = paced_at(self.pacing, rate_hz)
        except InputError as error:
            return Reply(False, f"set-rate: {error}")
        self.has_new_pacing = True
        named = "as fast as credit allows" if rate_hz is None else f"{rate_hz:,g} events/s"
        return Reply(True, f"{self.pacing.arrivals}: {named}")


def paced_at(pacing: PacingConfig, rate_hz: float | None) -> PacingConfig:
    """Returns a pacing with another mean rate.

    Equal gaps and Poisson arrivals take it as it is; of a profile it is the rate before its
    changes, and the profile runs faster or slower as a whole. A stream without pacing gets equal
    gaps.

    Args:
        pacing: what it was.
        rate_hz: the rate; None for as fast as credit allows.

    Example:
        >>> paced_at(PacingConfig(arrivals="poisson", rate_hz=10.0, speed=2.0), 30.0).speed
        3.0
        >>> paced_at(PacingConfig(), 30.0).arrivals
        'constant'
    """
    if rate_hz is None:
        return replace(pacing, arrivals="asap")
    if pacing.arrivals == "asap":
        return replace(pacing, arrivals="constant", rate_hz=rate_hz, speed=1.0)
    return replace(pacing, speed=rate_hz / _base_hz(pacing))


def mean_rate_hz(pacing: PacingConfig) -> float | None:
    """Returns the mean rate that was asked for, of a profile before its changes; None for none."""
    return None if pacing.arrivals in ("asap", "recorded") else _base_hz(pacing) * pacing.speed


def _base_hz(pacing: PacingConfig) -> float:
    """The rate that speed multiplies: that within bursts, where there is nothing between them."""
    return pacing.rate_hz or pacing.peak_hz


def _whole(amount: float | None, default: int) -> int:
    return default if amount is None else max(default, round(amount))
