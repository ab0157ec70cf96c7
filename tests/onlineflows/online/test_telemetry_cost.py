"""Telemetry takes a bounded share of the learner's time, however slow its machine is."""

import pytest

from onlineflows.online.operator import LARGEST_SHARE, LONGEST_S, TELL_S, Operator


class Slow:
    """Console, consumer and clock in one: each document takes a fixed time to make."""

    def __init__(self, document_s: float) -> None:
        self.now = 0.0
        self.n_documents = 0
        self._document_s = document_s

    def requests(self) -> list[object]:
        return []

    def publish(self, _: object) -> None:
        self.n_documents += 1

    def telemetry(self, *_: object, **__: object) -> None:
        self.now += self._document_s

    def last(self, seconds: float) -> None:
        operator = Operator(self, clock=lambda: self.now, wall=lambda: self.now)
        while self.now < seconds:
            operator.attend(self, self)
            self.now += 0.05


@pytest.mark.parametrize("document_s", [0.0, 0.001, LARGEST_SHARE * TELL_S])
def test_a_document_that_costs_little_comes_every_second(document_s: float) -> None:
    slow = Slow(document_s)
    slow.last(100.0)
    assert slow.n_documents == pytest.approx(100 / TELL_S, rel=0.15)


@pytest.mark.parametrize("document_s", [0.008, 0.015])
def test_one_that_costs_more_comes_less_often(document_s: float) -> None:
    slow = Slow(document_s)
    slow.last(100.0)
    assert slow.n_documents * document_s <= 1.02 * LARGEST_SHARE * 100.0


def test_it_comes_in_any_case() -> None:
    slow = Slow(1.0)
    slow.last(100.0)
    assert slow.n_documents >= 100 / (LONGEST_S + 1.2)
