import pytest

from onlineflows.live.folder import N_SNAPSHOTS, Lane, Record
from onlineflows.live.state import SILENT_S, RunState


def test_nothing_is_known_of_a_run_that_was_never_heard() -> None:
    assert RunState("demo").standings(0.0) == {}


def test_daemons_stand_as_they_say(producer, learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(), 10.0)
    state.hear("replay", producer(state="paused"), 10.0)
    said = {name: s.text for name, s in state.standings(11.0).items()}
    assert said == {"replay": "paused", "train": "running"}


def test_a_daemon_that_falls_silent_is_said_to_be_so_with_its_age(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(), 10.0)
    assert state.standings(10.0 + SILENT_S)["train"].is_well
    standing = state.standings(22.0)["train"]
    assert (standing.state, standing.is_well) == ("silent", False)
    assert standing.text == "last heard of 12 s ago (running then)"


def test_a_daemon_that_has_ended_may_be_silent(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(state="ended", condition="GOOD"), 10.0)
    standing = state.standings(1000.0)["train"]
    assert (standing.text, standing.is_well) == ("ended: GOOD", True)


def test_a_run_that_was_aborted_is_not_well(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(state="ended", condition="ABORTED"), 10.0)
    assert not state.standings(10.0)["train"].is_well


def test_a_producer_whose_learner_stalls_is_not_well(producer) -> None:
    state = RunState("demo")
    state.hear("replay", producer(state="stalled"), 10.0)
    assert not state.standings(10.0)["replay"].is_well


def test_a_daemon_that_comes_back_is_one_daemon(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(), 10.0)
    state.hear("train", learner(pid=99, unix_s=1060.0, n_trained=700), 70.0)
    assert state.learners["train"].newest.pid == 99
    assert state.standings(70.0)["train"].text == "running"


def test_the_end_of_an_earlier_run_is_told_by_its_directory() -> None:
    state = RunState("demo")
    state.look(Record(lanes={"train": Lane(condition="GOOD")}))
    standing = state.standings(0.0)["train"]
    assert (standing.text, standing.age_s) == ("ended before this page began: GOOD", None)


def test_who_speaks_is_believed_over_the_directory(learner) -> None:
    state = RunState("demo")
    state.look(Record(lanes={"train": Lane(condition="INTERRUPTED", told=learner(n_trained=1))}))
    state.hear("train", learner(), 0.0)
    assert state.standings(0.0)["train"].text == "running"
    assert state.heard_learners["train"].n_trained == 800


def test_lanes_come_in_their_order_whoever_speaks_first(learner) -> None:
    state = RunState("demo")
    for lane in (10, 2, 0):
        state.hear(f"train lane-{lane}", learner(lane=lane), 0.0)
    assert list(state.learners) == ["train lane-0", "train lane-2", "train lane-10"]


def test_rates_of_all_lanes_are_added(learner) -> None:
    state = RunState("demo")
    for lane in (0, 1):
        for second in range(3):
            document = learner(lane=lane, unix_s=float(second), n_trained=100 * second)
            state.hear(f"train lane-{lane}", document, float(second))
    assert state.total("trained", 2.0) == pytest.approx(200.0)


def test_the_lumisection_of_a_snapshot_is_that_of_its_first_mention(learner) -> None:
    state = RunState("demo")
    for lumisection in (3, 4, 5):
        state.hear("train", learner(lumisection=lumisection), 0.0)
    assert state.lumisections == {("train", "000003"): 3}


def test_the_lumisections_of_the_newest_snapshots_are_kept(learner) -> None:
    state = RunState("demo")
    for name in ("train lane-0", "train lane-1"):
        for i in range(1, N_SNAPSHOTS + 8):
            state.hear(name, learner(snapshot=f"{i:06}", lumisection=i), 0.0)
    assert len(state.lumisections) == 2 * N_SNAPSHOTS
    newest = f"{N_SNAPSHOTS + 7:06}"
    assert state.lumisections[("train lane-0", newest)] == N_SNAPSHOTS + 7


def test_a_run_that_begins_anew_has_snapshots_of_its_own(learner) -> None:
    state = RunState("demo")
    state.hear("train", learner(), 0.0)
    state.hear("train", learner(snapshot=""), 0.0)
    assert state.lumisections == {}


def test_events_that_the_window_never_held_make_no_room_for_the_same_events_again(learner) -> None:
    state = RunState("demo")
    for n_seen, n_windowed in ((900, 100), (1800, 110), (2700, 139), (3600, 140)):
        state.hear("train", learner(n_seen=n_seen, n_windowed=n_windowed), 0.0)
    assert state.spectra["train"].n == 2 * 40
