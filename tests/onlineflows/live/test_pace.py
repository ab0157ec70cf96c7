from onlineflows.live.pace import LENGTH, RECENT_S, Pace, Sample


def pace_of(*values: tuple[float, float]) -> Pace:
    pace = Pace()
    for unix_s, n in values:
        pace.add(Sample(unix_s, {"events": n}))
    return pace


def test_a_rate_needs_two_samples() -> None:
    assert pace_of((0.0, 5)).now("events") is None


def test_the_rate_of_now_forgets_what_was_long_ago() -> None:
    slow = [(float(t), 10.0 * t) for t in range(100)]
    fast = [(99 + t, 990 + 1000.0 * t) for t in range(1, round(2 * RECENT_S))]
    assert pace_of(*slow, *fast).now("events") == 1000.0


def test_a_process_that_begins_anew_has_no_negative_rate() -> None:
    pace = pace_of((0, 0), (1, 1000), (2, 2000), (3, 100), (4, 300))
    assert pace.now("events") == 200.0
    assert all(stretch.rates["events"] >= 0 for stretch in pace.history)


def test_rates_go_on_when_the_clock_is_set_back() -> None:
    before = [(7200.0 + t, 100.0 * t) for t in range(10)]
    after = [(3600.0 + t, 1000 + 300.0 * t) for t in range(10)]
    pace = pace_of(*before, *after)
    assert pace.now("events") == 300.0
    times = [stretch.unix_s for stretch in pace.history]
    assert times == sorted(times)
    assert {stretch.rates["events"] for stretch in pace.history} == {300.0}


def test_what_comes_a_little_late_is_ignored() -> None:
    assert pace_of((0, 0), (1, 100), (1, 900), (0.5, 950)).now("events") == 100.0


def test_the_history_spans_the_whole_time_in_few_points() -> None:
    pace = pace_of(*((float(t), 10.0 * t) for t in range(10 * LENGTH)))
    assert LENGTH // 2 - 1 <= len(pace.history) <= LENGTH
    assert pace.history[0].unix_s < 0.02 * pace.history[-1].unix_s
    assert {round(stretch.rates["events"], 6) for stretch in pace.history} == {10.0}
