import json

from onlineflows.live.brief import Tile, learner_rows, ledger_rows, snapshot_row, tiles_of
from onlineflows.live.folder import Record, RunFolder
from onlineflows.live.state import RunState
from streams.messages import Counts


def tiles(state: RunState, now: float = 0.0) -> dict[str, Tile]:
    return {tile.key: tile for tile in tiles_of(state, now)}


def heard(*documents) -> RunState:
    state = RunState("demo")
    for name, document, now in documents:
        state.hear(name, document, now)
    return state


def test_a_run_that_was_never_heard_has_tiles_without_numbers() -> None:
    found = tiles(RunState("demo"))
    assert found["rate"].value == found["trained"].value == "–"
    assert found["alarms"].value == "0"


def test_the_event_rate_is_the_producers(producer) -> None:
    said = [producer(unix_s=float(t), next_event=1000 * t) for t in range(3)]
    found = tiles(heard(*(("replay", s, s.unix_s) for s in said)))
    assert found["rate"].value == "1 k/s"
    assert found["rate"].more == "poisson, 500/s asked for"


def test_a_daemon_that_fell_silent_has_no_rate(producer, learner) -> None:
    said = [producer(unix_s=float(t), next_event=1000 * t) for t in range(3)]
    state = heard(*(("replay", s, s.unix_s) for s in said))
    assert tiles(state, now=5.0)["rate"].value == "1 k/s"
    assert tiles(state, now=60.0)["rate"].value == "–"


def test_a_run_that_has_ended_is_told_by_its_means(producer, learner) -> None:
    ended = producer(state="ended", condition="GOOD", next_event=1000, elapsed_s=4.0)
    found = tiles(
        heard(
            ("replay", ended, 0.0),
            ("train", learner(state="ended", condition="GOOD"), 0.0),
        )
    )
    assert (found["rate"].value, found["rate"].more) == ("250/s", "mean over the run")
    assert (found["speed"].value, found["speed"].more) == ("400/s", "mean while learning")


def test_a_run_that_had_ended_before_is_told_by_the_means_of_its_ledger(tmp_path, snapshot) -> None:
    snapshot(tmp_path, stream={"n_events": 2_960_000})
    ledger = {"condition": "GOOD", "generated": 2_960_000, "sent": 500, "trained": 592_000,
              "live_s": 30.0, "dead_s": 7.0}  # fmt: skip
    (tmp_path / "ledger.json").write_text(json.dumps(ledger))
    state = RunState("demo")
    state.look(RunFolder(tmp_path).look())
    found = tiles(state)
    assert (found["rate"].value, found["rate"].more) == ("80 k/s", "mean over the run")
    assert (found["dead"].value, found["dead"].more) == ("18.9%", "mean over the run, 7 s in all")
    assert (found["trained"].value, found["trained"].more) == ("592,000", "20% of 2,960,000")


def test_the_rate_of_learners_that_are_heard_is_no_mean(learner) -> None:
    said = [learner(unix_s=float(t), n_seen=900 * t) for t in range(3)]
    state = heard(*(("train", s, s.unix_s) for s in said))
    state.look(Record(ledger={"generated": 10, "live_s": 1.0}))
    assert (tiles(state)["rate"].value, tiles(state)["rate"].more) == ("900/s", "")


def test_dead_time_is_a_share_of_live_and_dead(producer) -> None:
    found = tiles(heard(("replay", producer(live_s=3.0, dead_s=1.0, paused_s=50.0), 0.0)))
    assert found["dead"].value == "25.0%"


def test_training_is_told_against_the_whole_run(producer, learner) -> None:
    found = tiles(heard(("replay", producer(), 0.0), ("train", learner(), 0.0)))
    assert (found["trained"].value, found["trained"].more) == ("800", "8% of 10,000")


def test_all_lanes_are_added_up(producer, learner) -> None:
    lanes = [(f"train lane-{k}", learner(lane=k), 0.0) for k in range(2)]
    found = tiles(heard(("replay", producer(), 0.0), *lanes))
    assert found["trained"].value == "1,600"
    assert found["alarms"].value == "2"
    assert found["buffer"].value == "50%"


def test_a_drift_alarm_and_a_failed_gate_are_marked(learner, tmp_path, snapshot) -> None:
    state = heard(("train", learner(), 0.0))
    snapshot(tmp_path, gate={"passed": False, "statistic": 9.0, "threshold": 2.5})
    state.look(RunFolder(tmp_path).look())
    found = tiles(state)
    assert found["alarms"].is_bad
    assert (found["snapshot"].is_bad, found["snapshot"].more) == (True, "gate FAILED")


def test_writes_that_the_disk_refused_are_told(learner) -> None:
    found = tiles(heard(("train", learner(n_write_failures=2), 0.0)))
    assert "2 writes refused" in found["snapshot"].more


def test_the_ledger_adds_up(producer, learner) -> None:
    counts = Counts(generated=1000, sent=900, busy=70, bad=30)
    state = heard(("replay", producer(counts=counts), 0.0), ("train", learner(), 0.0))
    rows = dict(ledger_rows(state))
    assert rows["generated"] == rows["sent"] + rows["busy"] + rows["bad"]
    assert rows["skipped: out of support"] == 4


def test_reasons_without_events_are_left_out(producer) -> None:
    assert "operator" not in dict(ledger_rows(heard(("replay", producer(), 0.0))))


def test_the_ledger_of_an_ended_run_is_its_file() -> None:
    state = RunState("demo")
    state.look(Record(ledger={"generated": 10, "sent": 3, "elsewhere": 5, "bad": 2}))
    assert dict(ledger_rows(state)) == {"generated": 10, "sent": 8, "bad": 2}


def test_a_snapshot_is_listed_with_its_gate(tmp_path, snapshot) -> None:
    snapshot(tmp_path, final=True)
    entry = RunFolder(tmp_path).look().lanes["train"].snapshots[0]
    row = snapshot_row("000001", entry, lumisection=7)
    assert row["name"] == "000001 (final)"
    assert (row["gate"], row["lumisection"], row["nll"]) == ("passed, 1.25 of 2.50", "7", "-1.250")


def test_a_snapshot_without_a_gate_is_listed(tmp_path, snapshot) -> None:
    snapshot(tmp_path, gate={}, history={"points": []})
    entry = RunFolder(tmp_path).look().lanes["train"].snapshots[0]
    row = snapshot_row("000001", entry, lumisection=None)
    assert row["gate"] == row["nll"] == row["lumisection"] == "–"


def test_each_learner_has_a_line(learner) -> None:
    state = heard(*((f"train lane-{k}", learner(lane=k), 0.0) for k in range(2)))
    assert [row["learner"] for row in learner_rows(state, 0.0)] == ["lane-0", "lane-1"]
