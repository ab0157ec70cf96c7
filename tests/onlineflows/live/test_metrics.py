import json
import re
from pathlib import Path

import pytest
from prometheus_client import exposition, parser
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from onlineflows.live.metrics import TABLE, Row, registry_of
from onlineflows.live.state import RunState

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "configs/docker/grafana/dashboards/onlineflows.json"


@pytest.fixture
def state(producer, learner) -> RunState:
    state = RunState("demo")
    state.hear("replay", producer(), 10.0)
    state.hear("train lane-0", learner(), 10.0)
    state.hear("train lane-1", learner(lane=1, n_trained=50, history=[]), 12.0)
    return state


def read(state: RunState, now: float = 13.0) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels, as the official parser understands them."""
    text = openmetrics.generate_latest(registry_of(state, lambda: now)).decode()
    return {
        (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_openmetrics_parser_takes_all_of_it(state: RunState) -> None:
    assert len(read(state)) > len(TABLE)


def test_the_parser_of_prometheus_takes_all_of_it(state: RunState) -> None:
    text = exposition.generate_latest(registry_of(state, lambda: 13.0)).decode()
    families = {f.name for f in parser.text_string_to_metric_families(text)}
    assert {f"onlineflows_{row.name}" for row in TABLE} <= families


def test_a_run_that_was_never_heard_has_metrics_without_values() -> None:
    assert read(RunState("demo")) == {}


def test_counters_are_what_the_daemons_said_however_often_they_are_asked_for(state) -> None:
    assert read(state) == read(state)
    found = read(state)
    assert found["onlineflows_producer_events_total", "replay", "sent", "demo"] == 900
    assert found["onlineflows_producer_events_total", "replay", "busy", "demo"] == 70
    assert found["onlineflows_learner_trained_events_total", "train lane-0", "demo"] == 800
    assert found["onlineflows_learner_trained_events_total", "train lane-1", "demo"] == 50


def test_outcomes_add_up_to_the_events_that_passed(state: RunState) -> None:
    outcomes = [v for k, v in read(state).items() if k[0] == "onlineflows_producer_events_total"]
    assert sum(outcomes) == 1000


def test_a_counter_of_a_process_that_began_anew_falls(state: RunState, learner) -> None:
    state.hear("train lane-0", learner(pid=9, unix_s=2000.0, n_trained=3), 20.0)
    name = "onlineflows_learner_trained_events_total"
    assert read(state)[name, "train lane-0", "demo"] == 3


def test_a_number_that_is_not_known_is_left_out(state: RunState) -> None:
    found = read(state)
    assert ("onlineflows_learner_nll_nats", "train lane-0", "demo") in found
    assert ("onlineflows_learner_nll_nats", "train lane-1", "demo") not in found


def test_a_daemon_that_fell_silent_is_down(state: RunState) -> None:
    found = read(state, now=16.0)
    assert found["onlineflows_up", "train lane-0", "demo"] == 0
    assert found["onlineflows_up", "train lane-1", "demo"] == 1
    assert found["onlineflows_last_heard_seconds", "train lane-0", "demo"] == 6


def test_the_gate_of_the_newest_snapshot_is_told(state: RunState, tmp_path: Path, snapshot) -> None:
    from onlineflows.live.folder import RunFolder

    snapshot(tmp_path)
    state.look(RunFolder(tmp_path).look())
    assert read(state)["onlineflows_snapshot_gate_passed", "train", "demo"] == 1
    assert read(state)["onlineflows_snapshot_gate_statistic_ratio", "train", "demo"] == 0.5


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_metric_is_named_by_the_conventions(row: Row) -> None:
    assert re.fullmatch(r"[a-z][a-z_]+", row.name)
    assert not row.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
    assert row.help.endswith(".")
    units = {"seconds", "bytes", "ratio", "hertz", "nats"}
    assert (row.name.rsplit("_", 1)[-1] if row.unit else "") == row.unit
    assert row.unit in units | {""}


def test_no_metric_is_there_twice() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_the_documentation_lists_exactly_these_metrics() -> None:
    text = (ROOT / "docs" / "live.md").read_text()
    row = r"^\| `(onlineflows_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$"
    rows = re.findall(row, text, re.MULTILINE)
    documented = {name: (kind, labels.strip(), said.strip()) for name, kind, labels, said in rows}
    assert documented == {
        m.exposed: (m.kind, ", ".join(f"`{label}`" for label in m.labels), m.help) for m in TABLE
    }


# --- the dashboard ---------------------------------------------------------------------------


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_dashboard_uses_metrics_that_exist() -> None:
    text = DASHBOARD.read_text()
    used = set(re.findall(r"onlineflows_\w+", "\n".join(expressions())))
    used |= set(re.findall(r"label_values\((\w+)", text))
    assert used
    assert used <= {row.exposed for row in TABLE}


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_of_the_dashboard_uses_labels_that_exist(expression: str) -> None:
    rows = {row.exposed: row for row in TABLE}
    names = re.findall(r"onlineflows_\w+", expression)
    labels = {"run", "daemon"} | {label for name in names for label in rows[name].labels}
    assert set(re.findall(r"by \((\w+)\)", expression)) <= labels
    assert set(re.findall(r"[{,](\w+)=~", expression)) == {"run"}
    assert expression.count("(") == expression.count(")")


def test_counters_of_the_dashboard_are_shown_as_rates_or_totals() -> None:
    counters = [e for e in expressions() if "_seconds_total" in e or "_events_total" in e]
    assert all(e.startswith(("sum", "rate(")) for e in counters)


def test_the_dashboard_is_one_that_grafanas_own_library_reads_in_full() -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    written = json.loads(DASHBOARD.read_text())
    read_back = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    assert _missing(written, read_back) == []


def _missing(written: object, understood: object, where: str = "") -> list[str]:
    """What a reader dropped or changed; what it added are its defaults."""
    if isinstance(written, dict) and isinstance(understood, dict):
        pairs = [(k, v, understood.get(k)) for k, v in written.items()]
        return [p for k, a, b in pairs for p in _missing(a, b, f"{where}.{k}")]
    if isinstance(written, list) and isinstance(understood, list):
        pairs = list(zip(range(len(written)), written, understood, strict=True))
        return [p for k, a, b in pairs for p in _missing(a, b, f"{where}[{k}]")]
    return [] if written == understood else [where]
