"""Settings that make no sense are refused by name."""

from typing import Any

import pytest

from streams import InputError, WireConfig


@pytest.mark.parametrize(
    "change",
    [
        {"batch_events": 0},
        {"window_batches": -1},
        {"window_nbytes": 0},
        {"heartbeat_s": 0.0},
        {"connect_timeout_s": float("nan")},
        {"max_delay_ms": float("inf")},
    ],
)
def test_a_setting_out_of_range_is_named(change: dict[str, Any]) -> None:
    [name] = change
    with pytest.raises(InputError, match=rf"wire\.{name}: expected a number from"):
        WireConfig(**change)


def test_a_lane_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="one of the 2 lanes, counted from 0; got 2"):
        WireConfig(lanes=2, lane=2)
