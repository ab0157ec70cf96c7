"""What an operator's verbs mean for a producer, apart from its loop."""

import pytest

from replay.operator import mean_rate_hz, paced_at
from replay.settings import PacingConfig


@pytest.mark.parametrize("arrivals", ["constant", "poisson", "ramp", "bursts", "fill"])
def test_a_paced_stream_keeps_its_arrivals_at_another_rate(arrivals: str) -> None:
    pacing = PacingConfig(arrivals=arrivals, rate_hz=10.0, speed=4.0)  # type: ignore[arg-type]
    changed = paced_at(pacing, 55.0)
    assert changed.arrivals == arrivals
    assert mean_rate_hz(changed) == pytest.approx(55.0)


def test_a_stream_without_pacing_gets_equal_gaps() -> None:
    changed = paced_at(PacingConfig(), 55.0)
    assert (changed.arrivals, mean_rate_hz(changed)) == ("constant", 55.0)


def test_a_stream_goes_as_fast_as_credit_allows_where_no_rate_is_given() -> None:
    changed = paced_at(PacingConfig(arrivals="poisson"), None)
    assert (changed.arrivals, mean_rate_hz(changed)) == ("asap", None)


def test_of_bursts_with_nothing_between_them_the_rate_within_is_set() -> None:
    bursts = PacingConfig(arrivals="bursts", rate_hz=0.0, peak_hz=1000.0)
    assert mean_rate_hz(bursts) == 1000.0
    assert mean_rate_hz(paced_at(bursts, 50.0)) == pytest.approx(50.0)


def test_a_recorded_stream_has_no_rate() -> None:
    assert mean_rate_hz(PacingConfig(arrivals="recorded")) is None
