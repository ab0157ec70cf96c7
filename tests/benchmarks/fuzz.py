"""Throws damaged and invented frames at everything that takes frames from a socket.

    python tests/benchmarks/fuzz.py [--frames 1000000] [--socket-frames 10000] [--seed 1]

Half of the frames go to the decoders, half into live state machines of both ends, the last ones
through a real socket. Frames are random, mutated, truncated, oversized, of the wrong type or size,
with wrong or recomputed hashes, or valid messages with invented values. Prints JSON; the exit code
is 1 after anything but the errors that a caller is told to expect, or a growth of memory.
"""

import argparse
import contextlib
import copy
import gc
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from streams import LHCO, Batch, Counts, RunBegan, SourceFile, Truth, WireConfig
from streams.codec import (
    Frames,
    decode_batch,
    decode_begin,
    decode_from_consumer,
    decode_from_producer,
    encode,
    encode_batch,
    encode_begin,
    hash_of,
)
from streams.consumer_end import ConsumerEnd
from streams.errors import MessageError, ProtocolError, RefusedError, SchemaError, TransportError
from streams.lanes import Lanes
from streams.messages import (
    Begin,
    Bye,
    Credit,
    Data,
    EndLumisection,
    EndRun,
    Gap,
    Hello,
    Nack,
    Ping,
    Pong,
    Refusal,
    Stand,
    Welcome,
)
from streams.transport import Receiver, Sender

EPOCH = bytes(range(16))
BEGIN = RunBegan(
    EPOCH.hex(), 1, LHCO, "lossless", batch_events=64, has_truth=True,
    sources=(SourceFile("a.h5", 10, "00" * 32),), config={"source": {"type": "standin"}},
)  # fmt: skip
WHOLE = (0, 1, 2, 7, 64, 255, 2**31, 2**53, 2**63 - 1)
MAX_GROWTH_NBYTES = 16 << 20
WARM_UP = 0.2
"""Share of the frames after which memory is expected to stay what it is."""

EXPECTED = (RefusedError, SchemaError, ProtocolError, TransportError)
"""What the ends may raise on what a peer says; the decoders raise MessageError alone."""


class Frame:
    """Makes frames: valid ones, and what can become of them on the way."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.valid = [self.real_batch(8), self.real_batch(64), encode_begin(BEGIN)]

    def one(self) -> tuple[str, Frames]:
        """Returns frames and how they were made."""
        kind = self.rng.choice(list(MADE))
        return kind, MADE[kind](self)

    def message(self) -> Any:
        """Returns a message of any kind with invented values; most of them make no sense."""
        rng, w = self.rng, lambda: self.rng.choice(WHOLE)
        p = lambda: max(1, w())  # noqa: E731
        stand = Stand(w(), w(), w(), self.counts(), self.counts(), rng.randbytes(8))
        epoch = EPOCH if rng.random() < 0.8 else rng.randbytes(16)
        text = "x" * rng.choice([0, 1, 512])
        return rng.choice(
            [
                lambda: Hello((2,), "a", epoch, stand, p(), p(), rng.random() < 0.5, w(), p()),
                lambda: Credit(epoch, w(), w(), rng.random() < 0.5),
                lambda: Nack(epoch, stand),
                lambda: Pong(epoch, w()),
                lambda: Bye(rng.choice(["done", "stopped", "refused"]), text),
                lambda: Welcome(w(), epoch, w(), w()),
                lambda: Begin(2, epoch, w(), "lossless", w(), p(), w(), True, rng.randbytes(8)),
                lambda: Data(
                    epoch, w(), w(), p(), w(), self.counts(), w(), p(), w(), w(), rng.randbytes(8)
                ),
                lambda: Gap(epoch, w(), w(), p(), w(), p(), self.counts()),
                lambda: EndLumisection(epoch, w(), p(), w(), w(), self.counts(), w(), w()),
                lambda: EndRun(
                    epoch, w(), w(), self.counts(), w(), w(), rng.randbytes(8), "GOOD", text
                ),
                lambda: Ping(epoch, w(), w(), w(), rng.random() < 0.5),
                lambda: Refusal("greet", text),
            ]
        )()

    def counts(self) -> Counts:
        """Returns counts, half of which add up."""
        if self.rng.random() < 0.5:
            n = self.rng.choice(WHOLE)
            sent = self.rng.choice([0, n, n // 2])
            return Counts(generated=n, sent=sent, bad=n - sent)
        return Counts(*(self.rng.choice(WHOLE) for _ in Counts.__struct_fields__))

    def real_batch(self, n: int, first: int = 0) -> Frames:
        """Returns a valid batch."""
        rng = np.random.default_rng(n)
        present = None
        if n < 64:
            present = np.zeros(8, np.uint8)
            present[: n // 8] = 255
        header = Data(EPOCH, 0, first, first + 64, 0, Counts(64, n, bad=64 - n), 1, 1, 1, 1)
        x = rng.random((n, LHCO.n_features), dtype=np.float32)
        batch = Batch(x, first, first + 64, 1, 1, present)
        return encode_batch(header, batch, Truth(np.zeros(n, np.uint8)))[1]

    def random_bytes(self) -> Frames:
        """Returns frames of noise."""
        rng = self.rng
        return [rng.randbytes(rng.choice([0, 1, 9, 60, 200])) for _ in range(rng.randint(0, 4))]

    def mutated(self) -> Frames:
        """Changes, inserts or removes bytes of a valid message."""
        rng = self.rng
        frames = [bytearray(f) for f in self.source()]
        for _ in range(rng.randint(1, 6)):
            frame = rng.choice(frames)
            at = rng.randrange(len(frame) + 1)
            way = rng.randrange(4)
            if way == 0 and frame:
                frame[at % len(frame)] ^= 1 << rng.randrange(8)
            elif way == 1 and frame:
                frame[at % len(frame)] = rng.choice([0, 0x7F, 0x80, 0xC1, 0xCF, 0xD3, 0xDF, 0xFF])
            elif way == 2:
                frame[at:at] = rng.randbytes(rng.randint(1, 9))
            else:
                del frame[at : at + rng.randint(1, 9)]
        return [bytes(frame) for frame in frames]

    def truncated(self) -> Frames:
        """Cuts a frame, or leaves frames out."""
        frames = list(self.source())
        at = self.rng.randrange(len(frames))
        if self.rng.random() < 0.5:
            frames[at] = frames[at][: self.rng.randrange(len(frames[at]) + 1)]
        else:
            del frames[at:]
        return frames

    def oversized(self) -> Frames:
        """Makes a frame larger than any limit, or the frames too many."""
        rng = self.rng
        frames = list(self.source())
        way = rng.randrange(4)
        if way == 0:
            frames[0] = frames[0] + bytes(5000)
        elif way == 1:
            frames[-1] = frames[-1] + bytes(rng.choice([1, 4, 100_000]))
        elif way == 2:
            frames += [b"x"] * rng.choice([1, 100])
        else:
            frames[0] = rng.choice([b"\xdd", b"\xc6", b"\xdb", b"\xdf"]) + b"\xff" * 4
        return frames

    def wrong_type(self) -> Frames:
        """Sends a batch's payload as doubles, or with another number of features, hash and all."""
        rng = self.rng
        x = np.random.default_rng(1).random((8, rng.choice([1, 4, 6])))
        payload = x.astype(rng.choice(["<f8", ">f4", "<f2", "<i4"])).tobytes()
        frames = list(self.valid[0])
        return self.with_hash(frames, payload)

    def wrong_hash(self) -> Frames:
        """Changes a payload and leaves the hash, or changes the hash."""
        frames = list(self.valid[self.rng.randrange(3)])
        at = self.rng.randrange(1, len(frames))
        frame = bytearray(frames[at])
        frame[self.rng.randrange(len(frame))] ^= 1 << self.rng.randrange(8)
        frames[at] = bytes(frame)
        return frames

    def right_hash(self) -> Frames:
        """Changes the bits of a batch, or the begin of run's document, with a hash that fits."""
        rng = self.rng
        if rng.random() < 0.5:
            frames = list(self.valid[0])
            header = msgspec.msgpack.decode(frames[0])
            bits = rng.randbytes(rng.choice([8, 8, 8, 0, 9]))
            header["present_hash"] = hash_of(bits)
            frames[0], frames[2] = msgspec.msgpack.encode(header), bits
            return frames
        frames = encode_begin(BEGIN)
        document = json.loads(frames[1])
        for _ in range(rng.randint(1, 3)):
            place, key = document, rng.choice(list(document))
            while isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                place = place[key]
                keys = list(place) if isinstance(place, dict) else range(len(place))
                key = rng.choice(list(keys))
            place[key] = copy.deepcopy(rng.choice(DOCUMENT_VALUES))
        text = json.dumps(document).replace('"huge"', "1" + "0" * rng.choice([30, 400, 5000]))
        header = msgspec.msgpack.decode(frames[0])
        content = text.encode()
        if rng.random() < 0.3:
            content = bytes(b if rng.random() < 0.99 else rng.randrange(256) for b in content)
        header["document_hash"] = hash_of(content)
        return [msgspec.msgpack.encode(header), content]

    def invented(self) -> Frames:
        """Returns a message of the right form with invented values."""
        try:
            frames = [encode(self.message())]
        except (OverflowError, ValueError):
            return [b"\xc0"]
        return frames + self.random_bytes() if self.rng.random() < 0.2 else frames

    def retyped(self) -> Frames:
        """Replaces one field of a header by a value of another type."""
        frames = list(self.source())
        header = msgspec.msgpack.decode(frames[0])
        key = self.rng.choice([*header, "extra"])
        header[key] = self.rng.choice(
            [None, True, -1, 2**64 - 1, 1.5, "text", b"\xff" * 16, [], {}, [[[]]], "\ud7ff"]
        )
        frames[0] = msgspec.msgpack.encode(header)
        return frames

    def with_hash(self, frames: Frames, payload: bytes) -> Frames:
        """Returns a batch with another payload and a hash that fits."""
        header = msgspec.msgpack.decode(frames[0])
        header["payload_hash"] = hash_of(payload)
        return [msgspec.msgpack.encode(header), payload, *frames[2:]]

    def source(self) -> Frames:
        """Returns a valid message."""
        if self.rng.random() < 0.5:
            return self.rng.choice(self.valid)
        try:
            return [encode(self.message())]
        except (OverflowError, ValueError):
            return self.valid[0]


DOCUMENT_VALUES: tuple[Any, ...] = (
    None, True, -1, 1.5, 1e999, "", "x", "huge", [], {}, [[]], [None], [1, 2, 3], {"features": []},
    [["a", 1e999, "h"]], [["a", "nan", 3]], {"name": {}, "unit": [], "low": "nan", "high": 1},
)  # fmt: skip

MADE: dict[str, Callable[[Frame], Frames]] = {
    "random": Frame.random_bytes,
    "mutated": Frame.mutated,
    "truncated": Frame.truncated,
    "oversized": Frame.oversized,
    "wrong type": Frame.wrong_type,
    "wrong hash": Frame.wrong_hash,
    "right hash": Frame.right_hash,
    "invented": Frame.invented,
    "retyped": Frame.retyped,
}


class Tally:
    """What became of the frames."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.made: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self._base = 0
        self._began = time.perf_counter()

    def watch(self, number: int) -> None:
        """Looks at memory once, after a warm-up."""
        if number == int(WARM_UP * self.n):
            gc.collect()
            self._base = resident_nbytes()

    def crash(self, error: BaseException, frames: Frames) -> None:
        """Records what nobody may raise."""
        self.crashes[f"{type(error).__name__}: {error}"[:120] + f" on {frames!r}"[:300]] += 1

    def document(self) -> dict[str, Any]:
        """Returns the result."""
        gc.collect()
        return {
            "frames": self.n,
            "crashes": dict(self.crashes.most_common(10)),
            "memory_growth_nbytes": resident_nbytes() - self._base,
            "seconds": round(time.perf_counter() - self._began, 1),
            "accepted": dict(self.accepted),
            "refused": dict(self.refused),
            "made": dict(self.made),
        }


def fuzz_codec(n: int, seed: int) -> dict[str, Any]:
    """Decodes n messages as either side would."""
    make, tally = Frame(random.Random(seed)), Tally(n)
    for number in range(n):
        tally.watch(number)
        kind, frames = make.one()
        tally.made[kind] += 1
        for side, decode in (("producer", _decode_all), ("consumer", decode_from_consumer)):
            try:
                decode(frames)
                tally.accepted[side] += 1
            except MessageError as error:
                tally.refused[f"{side}: {error.reason}"] += 1
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                tally.crash(error, frames)
    return tally.document()


def _decode_all(frames: Frames) -> None:
    message = decode_from_producer(frames)
    if isinstance(message, Data):
        decode_batch(message, frames, LHCO.n_features)
    elif isinstance(message, Begin):
        decode_begin(message, frames)


def fuzz_ends(n: int, seed: int) -> dict[str, Any]:
    """Feeds n messages to both ends in turns, in the middle of a run that goes on."""
    make, tally = Frame(random.Random(seed)), Tally(n)
    pair = Pair(make.rng)
    for number in range(n):
        tally.watch(number)
        if number % 20 == 0:
            pair.go_on()
        kind, frames = make.one()
        tally.made[kind] += 1
        is_producer = number % 2 == 0
        side = "producer" if is_producer else "consumer"
        end = pair.producer if is_producer else pair.consumer
        before = end.malformed.copy()
        try:
            pair.tell(frames, is_producer=is_producer)
        except EXPECTED as error:
            tally.refused[f"{side}: {type(error).__name__}"] += 1
            pair = Pair(make.rng)
            continue
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            tally.crash(error, frames)
            pair = Pair(make.rng)
            continue
        new = end.malformed - before
        for reason, count in new.items():
            tally.refused[f"{side}: {reason}"] += count
        if not new:
            tally.accepted[side] += 1
        if number % 5000 == 4999:
            pair = Pair(make.rng)
    return tally.document()


class Pair:
    """A producer's and a consumer's end in the middle of a run."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        mode: Any = rng.choice(["lossless", "realtime"])
        wire = WireConfig(
            mode=mode, batch_events=64, connect_timeout_s=1e9, lanes=rng.choice([1, 2])
        )
        begin = RunBegan(EPOCH.hex(), 1, LHCO, mode, batch_events=64, has_truth=True)
        self.producer = Lanes(wire, begin, 0.0)
        self.consumer = ConsumerEnd(wire, name="a", resume=None, expect=LHCO, now=0.0)
        self.x = np.zeros((64, LHCO.n_features), np.float32)

    def tell(self, frames: Frames, *, is_producer: bool) -> None:
        """Hands a message to one of the ends."""
        self.now += 0.01
        if is_producer:
            peer = self.rng.choice([b"a", b"a", b"stranger"])
            self.producer.receive(peer, frames, self.now)
            self.producer.tick(self.now)
        else:
            self.consumer.receive(frames, self.now)
            self.consumer.tick(self.now)
        self.drop()

    def go_on(self) -> None:
        """Lets the run itself go on for a few messages, whatever state it is in."""
        try:
            for _ in range(3):
                self.now += 0.1
                while self.consumer.outbox:
                    self.producer.receive(b"a", self.consumer.outbox.popleft(), self.now)
                if self.producer.rewind is not None:
                    self.producer.rewound()
                event = self.producer.next_event
                if event < 2**62 and self.producer.can_send(event, self.now):
                    batch = Batch(self.x, event, event + 64, 1, 1)
                    self.producer.batch(
                        batch, Counts(64, 64), None, now=self.now, sent_ns=1, monotonic_ns=1
                    )
                for _, frames in list(self.producer.outbox):
                    for incoming in self.consumer.receive(frames, self.now):
                        number = getattr(incoming, "batch_number", None)
                        if number is not None:
                            self.consumer.consumed(number)
                self.producer.outbox.clear()
        except EXPECTED:
            self.__init__(self.rng)  # type: ignore[misc]
        self.drop()

    def drop(self) -> None:
        """Forgets what would be sent; it must not be endless."""
        if len(self.producer.outbox) + len(self.consumer.outbox) > 2000:
            raise AssertionError("one message made thousands")
        self.producer.outbox.clear()
        self.consumer.outbox.clear()


def fuzz_socket(n: int, seed: int) -> dict[str, Any]:
    """Sends n messages to live sockets of both ends, and junk to the port itself."""
    make, tally = Frame(random.Random(seed)), Tally(n)
    context = zmq.Context()
    wire = WireConfig(address="tcp://127.0.0.1:*", batch_events=64, connect_timeout_s=1e9)
    sender = Sender(wire, BEGIN)
    peer = context.socket(zmq.DEALER)
    peer.connect(sender.address)
    producer = context.socket(zmq.ROUTER)
    producer.setsockopt(zmq.ROUTER_MANDATORY, 1)
    producer.bind("tcp://127.0.0.1:*")
    receiver = _receiver(producer)
    consumer = _greet(receiver, producer)
    refused: Counter[str] = Counter()
    for number in range(n):
        tally.watch(number)
        kind, frames = make.one()
        tally.made[kind] += 1
        frames = frames or [b""]
        try:
            if number % 100 == 0:
                _junk(sender.address, make.rng)
            if number % 2 == 0:
                if max(map(len, frames)) <= wire.security.max_request_nbytes:
                    peer.send_multipart(frames)
                sender.poll(0.0)
            else:
                producer.send_multipart([consumer, *frames])
                receiver.poll(0.0)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            tally.refused["not connected"] += 1
            consumer = _greet(receiver, producer)
        except EXPECTED as error:
            tally.refused[type(error).__name__] += 1
            if number % 2 == 0:
                refused += Counter(sender.refusals)
                sender.close()
                sender = Sender(wire, BEGIN)
                peer.close(linger=0)
                peer = context.socket(zmq.DEALER)
                peer.connect(sender.address)
            else:
                refused += Counter(receiver.refusals)
                receiver.close()
                receiver = _receiver(producer)
                consumer = _greet(receiver, producer)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            tally.crash(error, frames)
    for _ in range(50):
        sender.poll(0.01)
    refused += Counter(sender.refusals) + Counter(receiver.refusals)
    tally.refused.update(refused)
    tally.accepted["neither refused nor a crash"] = n - tally.refused.total()
    for end in (peer, producer):
        end.close(linger=0)
    sender.close()
    receiver.close()
    context.term()
    return tally.document()


def _receiver(producer: "zmq.Socket[bytes]") -> Receiver:
    address = producer.getsockopt_string(zmq.LAST_ENDPOINT)
    return Receiver(WireConfig(address=address, connect_timeout_s=1e9), name="fuzz")


def _greet(receiver: Receiver, producer: "zmq.Socket[bytes]") -> bytes:
    """Lets a consumer begin a run, so that what follows reaches its deeper states.

    Returns:
        The consumer's identity on the producer's socket.
    """
    for _ in range(200):
        receiver.poll(0.01)
        while producer.poll(0):
            consumer = producer.recv_multipart()[0]
            with contextlib.suppress(zmq.ZMQError):  # the good-bye of one that was closed
                producer.send_multipart([consumer, *encode_begin(BEGIN)])
                return consumer
    raise SystemExit("expected a consumer that says HELLO; none did")


def _junk(address: str, rng: random.Random) -> None:
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as stranger:
        stranger.sendall(rng.choice([b"GET / HTTP/1.1\r\n\r\n", rng.randbytes(500), b"\xff" * 80]))


def resident_nbytes() -> int:
    """Returns this process's resident size."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(frames: int, socket_frames: int, seed: int) -> dict[str, Any]:
    """Runs all three and returns their results."""
    parts = {
        "codec": fuzz_codec(frames // 2, seed),
        "ends": fuzz_ends(frames - frames // 2, seed + 1),
        "socket": fuzz_socket(socket_frames, seed + 2),
    }
    n_crashes = sum(sum(part["crashes"].values()) for part in parts.values())
    growth = max(part["memory_growth_nbytes"] for part in parts.values())
    return {
        "frames": frames,
        "socket_frames": socket_frames,
        "seed": seed,
        "crashes": n_crashes,
        "largest_growth_nbytes": growth,
        "passed": n_crashes == 0 and growth <= MAX_GROWTH_NBYTES,
        **parts,
    }


def main() -> int:
    """Runs everything and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--socket-frames", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = measure(arguments.frames, arguments.socket_frames, arguments.seed)
    print(json.dumps(result, indent=1))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
