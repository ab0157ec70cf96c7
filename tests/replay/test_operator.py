"""What an operator's verbs mean for a producer, apart from its loop."""

import pytest

from replay.operator import mean_rate_hz, paced_at
from replay.settings import PacingConfig


@pytest.mark.parametrize("arrivals", ["constant", "poisson", "ramp"])
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
