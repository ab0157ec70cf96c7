"""A proxy between producer and consumers that loses, repeats, delays and reorders messages.

For tests: whole messages of all kinds, in both directions, at random from a seed. A process:
``python -m streams.fault_proxy --listen tcp://127.0.0.1:5758 --producer tcp://127.0.0.1:5757``;
on SIGTERM it prints what it did as JSON and ends. It doesn't pass security on: NULL sockets only.
"""

import argparse
import heapq
import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from types import FrameType

import zmq

Frames = list[bytes]

POLL_S = 0.01


@dataclass(slots=True)
class Count:
    """What became of the messages of one direction. Changes."""

    passed: int = 0
    dropped: int = 0
    duplicated: int = 0
    delayed: int = 0
    reordered: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """Probabilities for each message.

    Args:
        drop: it is lost.
        duplicate: it comes twice.
        delay: it comes later, by up to `delay_s`; those behind it overtake it.
        delay_s: longest delay.
    """

    drop: float = 0.02
    duplicate: float = 0.02
    delay: float = 0.05
    delay_s: float = 0.1


@dataclass(slots=True)
class Mischief:
    """What happens to the messages of one direction; pure: time is an argument. Changes.

    Args:
        rates: how often.
        rng: draws.
    """

    rates: Rates
    rng: random.Random
    count: Count = field(default_factory=Count)
    _held: list[tuple[float, int, Frames]] = field(default_factory=list)
    _n: int = 0
    _newest: int = -1

    def take(self, frames: Frames, now: float) -> None:
        """Takes a message and decides when it goes on, and how often."""
        rates, draw = self.rates, self.rng.random()
        times = [now]
        if draw < rates.drop:
            self.count.dropped += 1
            times = []
        elif draw < rates.drop + rates.duplicate:
            self.count.duplicated += 1
            times = [now, now + self.rng.uniform(0, rates.delay_s)]
        elif draw < rates.drop + rates.duplicate + rates.delay:
            self.count.delayed += 1
            times = [now + self.rng.uniform(0, rates.delay_s)]
        for when in times:
            heapq.heappush(self._held, (when, self._n, frames))
        self._n += 1

    def due(self, now: float) -> list[Frames]:
        """Returns the messages that go on now."""
        found = []
        while self._held and self._held[0][0] <= now:
            _, number, frames = heapq.heappop(self._held)
            self.count.passed += 1
            self.count.reordered += number < self._newest
            self._newest = max(self._newest, number)
            found.append(frames)
        return found


class FaultProxy:
    """The sockets around two `Mischief`s; each consumer keeps its name beyond the proxy.

    Args:
        listen: address for consumers.
        producer: the producer's address.
        rates: how often what happens.
        seed: of all draws.
    """

    def __init__(self, listen: str, producer: str, rates: Rates, seed: int) -> None:
        self._producer = producer
        self._context = zmq.Context()
        self._front = self._socket(zmq.ROUTER)
        self._front.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._front.bind(listen)
        self._back: dict[bytes, zmq.Socket[bytes]] = {}
        self._poller = zmq.Poller()
        self._poller.register(self._front, zmq.POLLIN)
        self.towards_producer = Mischief(rates, random.Random(f"{seed} up"))  # noqa: S311
        self.towards_consumer = Mischief(rates, random.Random(f"{seed} down"))  # noqa: S311

    def turn(self, now: float) -> None:
        """Takes in what has arrived and passes on what is due, after waiting a moment."""
        self._poller.poll(round(1000 * POLL_S))
        while int(self._front.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self.towards_producer.take(self._front.recv_multipart(), now)
        for name, socket in self._back.items():
            while int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                self.towards_consumer.take([name, *socket.recv_multipart()], now)
        for name, *frames in self.towards_producer.due(now):
            self._to_producer(name).send_multipart(frames)
        for named in self.towards_consumer.due(now):
            self._front.send_multipart(named)

    def document(self) -> dict[str, dict[str, int]]:
        """Returns what was done, by direction."""
        ends = {"to_producer": self.towards_producer, "to_consumer": self.towards_consumer}
        return {name: asdict(mischief.count) for name, mischief in ends.items()}

    def close(self) -> None:
        """Closes all sockets at once."""
        for socket in (self._front, *self._back.values()):
            socket.close(linger=0)
        self._context.term()

    def _to_producer(self, name: bytes) -> "zmq.Socket[bytes]":
        if name not in self._back:
            self._back[name] = self._socket(zmq.DEALER)
            self._back[name].setsockopt(zmq.ROUTING_ID, name)
            self._back[name].connect(self._producer)
            self._poller.register(self._back[name], zmq.POLLIN)
        return self._back[name]

    def _socket(self, kind: int) -> "zmq.Socket[bytes]":
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        return socket


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a proxy until SIGTERM; then prints what it did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--listen", required=True)
    parser.add_argument("--producer", required=True)
    parser.add_argument("--seed", type=int, default=1)
    for name, value in asdict(Rates()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    given = parser.parse_args(arguments)
    rates = Rates(given.drop, given.duplicate, given.delay, given.delay_s)
    stopped: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.append(number)

    signal.signal(signal.SIGTERM, stop)
    proxy = FaultProxy(given.listen, given.producer, rates, given.seed)
    try:
        while not stopped:
            proxy.turn(time.monotonic())
    finally:
        proxy.close()
    sys.stdout.write(json.dumps(proxy.document()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
