"""The thin layer of sockets: when it looks for messages."""

import time

import numpy as np

from streams import LHCO, Batch, Counts, RunBegan, WireConfig
from streams.transport import SENDS_PER_LOOK, Receiver, Sender

N = 8
BEGIN = RunBegan("ab" * 16, 1, LHCO, "lossless", batch_events=N)


def send(sender: Sender, number: int) -> None:
    batch = Batch(np.zeros((N, 5), np.float32), N * number, N * (number + 1), 1, 1)
    sender.send(batch, Counts(N, N))


def until_connected(sender: Sender, receiver: Receiver) -> None:
    end = time.monotonic() + 10
    while not (sender.is_connected and sender.can_send(0)) and time.monotonic() < end:
        receiver.poll(0.01)
        sender.poll(0.01)


def test_a_producer_that_cannot_send_looks_for_credit_each_time() -> None:
    """Else one that never waits, in realtime mode, would drop events for ever."""
    with Sender(WireConfig(address="tcp://127.0.0.1:*"), BEGIN) as sender:
        wire = WireConfig(address=sender.address, window_batches=1)
        with Receiver(wire, name="learner") as receiver:
            until_connected(sender, receiver)
            for number in range(2 * SENDS_PER_LOOK):
                send(sender, number)
                assert not sender.can_send(N * (number + 1)), "there was credit for one"
                [*_, received] = receiver.poll(5.0)
                receiver.consumed(received.batch_number)
                sender.poll(0.0)  # this one may not look
                end = time.monotonic() + 10
                while not sender.can_send(N * (number + 1)) and time.monotonic() < end:
                    sender.poll(0.0)
                assert sender.can_send(N * (number + 1))


def test_a_busy_producer_looks_after_a_few_batches() -> None:
    with Sender(WireConfig(address="tcp://127.0.0.1:*"), BEGIN) as sender:
        wire = WireConfig(address=sender.address, window_batches=16)
        with Receiver(wire, name="learner") as receiver:
            until_connected(sender, receiver)
            receiver.report_progress(77)
            receiver.close()
            time.sleep(0.2)  # a good-bye over a real socket
            for number in range(SENDS_PER_LOOK + 1):
                if not sender.is_connected:
                    break
                send(sender, number)
                sender.poll(0.0)
            assert not sender.is_connected
