"""A learner without progress is reported once, and once more when it goes on."""

from replay.stalls import Stall, StallWatch


def test_a_learner_that_makes_no_progress_is_reported_once() -> None:
    watch = StallWatch(10.0)
    said = [watch.update(now, "mark", is_owed=True) for now in (0.0, 5.0, 10.0, 15.0, 100.0)]
    assert said == [None, None, Stall(0.0, 10.0, is_over=False), None, None]
    assert (watch.n_stalls, watch.stalled_s, watch.is_stalled) == (1, 100.0, True)


def test_its_recovery_is_told_with_the_whole_time() -> None:
    watch = StallWatch(10.0)
    for now in (0.0, 12.0):
        watch.update(now, 1, is_owed=True)
    assert watch.update(20.0, 2, is_owed=True) == Stall(0.0, 20.0, is_over=True)
    assert (watch.n_stalls, watch.stalled_s, watch.is_stalled) == (1, 20.0, False)


def test_progress_of_any_kind_is_enough() -> None:
    watch = StallWatch(10.0)
    assert [watch.update(5.0 * n, n, is_owed=True) for n in range(20)] == [None] * 20


def test_who_has_nothing_to_do_does_not_hang() -> None:
    watch = StallWatch(10.0)
    assert [watch.update(5.0 * n, 1, is_owed=False) for n in range(20)] == [None] * 20


def test_zero_means_never() -> None:
    watch = StallWatch(0.0)
    assert [watch.update(1e6 * n, 1, is_owed=True) for n in range(20)] == [None] * 20
