"""Turns and rates."""

import pytest

from onlineflows.bench.timing import Contender, Effort, Slot, interleave, quartiles, rate


class Counting(Contender):
    """A contender whose calls take a fixed time on a clock of its own."""

    def __init__(self, name: str, seconds: float, turns: list[str]) -> None:
        super().__init__(n_events=10, threads=1)
        self.name = name
        self.seconds = seconds
        self.turns = turns

    def run(self, n_calls: int) -> Slot:
        self.turns.append(self.name)
        return Slot(n_calls * self.seconds, 2 * n_calls * self.seconds)


def test_contenders_take_turns() -> None:
    turns: list[str] = []
    contenders = {name: Counting(name, 1.0, turns) for name in ("a", "b")}
    interleave(contenders, Effort(rounds=3, slot_s=1.0, pause_s=0.0))
    assert turns[-6:] == ["a", "b"] * 3


def test_a_slow_contender_is_called_less_often_in_a_turn_and_both_rates_are_right() -> None:
    contenders = {"fast": Counting("fast", 0.001, []), "slow": Counting("slow", 2.0, [])}
    rates = interleave(contenders, Effort(rounds=2, slot_s=0.1, pause_s=0.0))
    assert rates["fast"].events_per_s == pytest.approx(10_000)
    assert rates["slow"].events_per_s == pytest.approx(5)
    assert rates["slow"].events_per_cpu_s == pytest.approx(2.5)


def test_the_spread_is_the_interquartile_range_of_the_rates() -> None:
    slots = [Slot(1 / n, 1.0) for n in (1, 2, 3, 4, 5)]
    assert rate(slots, 1).spread == pytest.approx(2)


def test_a_single_value_is_its_own_quartiles() -> None:
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
