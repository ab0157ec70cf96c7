from onlineflows.live.health import MAX_AGE_S, health_of
from onlineflows.live.state import RunState


def test_a_run_that_nobody_heard_of_is_not_well() -> None:
    assert health_of(RunState("demo"), 0.0) == (
        False,
        {"run": "demo", "healthy": False, "daemons": {}},
    )


def test_a_run_whose_daemons_speak_is_well(producer, learner) -> None:
    state = RunState("demo")
    state.hear("replay", producer(), 9.5)
    state.hear("train", learner(), 9.0)
    healthy, document = health_of(state, 10.0)
    assert healthy
    assert document["daemons"]["train"] == {
        "state": "running",
        "healthy": True,
        "text": "running",
        "age_s": 1.0,
    }


def test_a_daemon_may_be_silent_while_it_writes(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(), 0.0)
    assert health_of(state, MAX_AGE_S)[0]
    assert not health_of(state, MAX_AGE_S + 1)[0]


def test_one_daemon_that_is_ill_makes_the_run_ill(producer, learner) -> None:
    state = RunState("demo")
    state.hear("replay", producer(state="stalled"), 0.0)
    state.hear("train", learner(), 0.0)
    healthy, document = health_of(state, 0.0)
    assert not healthy
    assert [d["healthy"] for d in document["daemons"].values()] == [False, True]


def test_a_run_that_has_ended_well_is_well_for_ever(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(state="ended", condition="GOOD"), 0.0)
    assert health_of(state, 1e6)[0]


def test_a_run_that_was_aborted_is_not_well(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(state="ended", condition="ABORTED"), 0.0)
    assert not health_of(state, 0.0)[0]
