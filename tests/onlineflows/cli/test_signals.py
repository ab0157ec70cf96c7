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


@pytest.mark.parametrize("has_terminal", [True, False])
def test_a_hang_up_ends_a_run_only_where_it_means_the_terminal(has_terminal: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    try:
        with StopFlag(has_terminal=has_terminal) as stop:
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (stop.requested, stop.aborted) == (has_terminal, False)


def test_under_nohup_a_hang_up_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopFlag(has_terminal=True) as stop:
            signal.raise_signal(signal.SIGHUP)
        assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
