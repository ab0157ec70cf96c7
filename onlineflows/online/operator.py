"""What an operator asks of a running consumer, and how it is told where that stands."""

import logging
from collections.abc import Callable

from onlineflows.errors import SnapshotError
from onlineflows.online.consumer import Consumer
from streams.console import Console, Pulse
from streams.console_codec import plain
from streams.control import Reply, Request, Verb, refusal
from streams.telemetry import ConsumerTelemetry
from streams.transport import Receiver

logger = logging.getLogger(__name__)

LOOK_S = 0.1
"""How often requests are looked for."""

TELL_S = 1.0
"""How often telemetry is published."""

LARGEST_SHARE = 0.005
"""No more of the time goes into telemetry: on a machine that is too busy it comes less often."""

LONGEST_S = 4.0
"""Whoever listens hears of the consumer at least so often."""

UNDERSTOOD: tuple[Verb, ...] = ("status", "snapshot-now", "stop")


class Operator:
    """Answers requests and publishes telemetry, between two batches.

    Args:
        console: where requests come from; None where nobody can ask.
        clock: seconds that never go back.
        wall: the time of day, Unix seconds.

    Attributes:
        wants_stop: whether the consumer is to leave.
    """

    def __init__(
        self, console: Console | None, *, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self.wants_stop = False
        self._console = console
        self._clock = clock
        self._wall = wall
        self._look, self._tell = Pulse(LOOK_S, clock()), Pulse(TELL_S, clock())
        self._n_told = 0

    def attend(self, consumer: Consumer, receiver: Receiver) -> None:
        """Answers what has come and publishes what is due."""
        now = self._clock()
        if self._console is None or not self._look.is_due(now):
            return
        for peer, request in self._console.requests():
            self._console.answer(peer, self._obey(request, consumer, receiver))
        if self._tell.is_due(now):
            began = self._clock()
            self.publish(consumer, receiver)
            spent_s = self._clock() - began
            self._tell.rest(now + min(spent_s / LARGEST_SHARE, LONGEST_S))

    def publish(self, consumer: Consumer, receiver: Receiver) -> None:
        """Publishes where the consumer stands, whether or not that is due."""
        if self._console is not None:
            self._console.publish(self._standing(consumer, receiver))
            self._n_told += 1

    def _standing(self, consumer: Consumer, receiver: Receiver) -> ConsumerTelemetry:
        return consumer.telemetry(receiver, sequence=self._n_told, unix_s=self._wall())

    def _obey(self, request: Request, consumer: Consumer, receiver: Receiver) -> Reply:
        match request.verb:
            case "status":
                now = self._standing(consumer, receiver)
                return Reply(True, now.state, plain(now))
            case "stop":
                self.wants_stop = True
                return Reply(True, "leaves a checkpoint and a snapshot; go on with --resume")
            case "snapshot-now":
                return self._snapshot(consumer)
            case _:
                return refusal(request.verb, "consumer", UNDERSTOOD)

    def _snapshot(self, consumer: Consumer) -> Reply:
        try:
            path = consumer.publish_now()
        except SnapshotError as error:
            logger.error("no snapshot could be written", extra={"problem": str(error)})
            return Reply(False, str(error))
        if path is None:
            return Reply(False, "snapshot-now: there is no density yet: too few events have come")
        return Reply(True, f"published {path.name}")
