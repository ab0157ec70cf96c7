"""The stop flag: real signals, raised in this process."""

import signal

import pytest

from onlineflows.cli.signals import StopFlag


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_requests_a_clean_stop(number: signal.Signals) -> None:
    with StopFlag() as stop:
        signal.raise_signal(number)
    assert (stop.requested, stop.aborted) == (True, False)


def test_without_a_signal_nothing_is_requested() -> None:
    with StopFlag() as stop:
        pass
    assert not stop()


def test_a_second_interrupt_aborts() -> None:
    with StopFlag() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert (stop.requested, stop.aborted) == (True, True)


def test_a_third_interrupt_reaches_a_loop_that_hangs() -> None:
    with StopFlag():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_terminating_twice_stays_a_clean_stop() -> None:
    with StopFlag() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert not stop.aborted


def test_the_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopFlag():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
