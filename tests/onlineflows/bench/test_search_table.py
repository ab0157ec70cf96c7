"""What the tables of searches say of their rows."""

from typing import Any

from onlineflows.bench.search_table import HEADER, search_tables


def row(on: str, seed: int, sic: float, **more: Any) -> dict[str, Any]:
    return {
        "dataset": "standin",
        "settings": "one",
        "signal_fraction": 0.003,
        "seed": seed,
        "on": on,
        "method": "cwola",
        "max_sic": sic,
        "auc": 0.9,
        "n_events": 1000,
        "nbytes": 4000,
        "event_nbytes": 20,
        "n_parameters": 10,
        "train_s": 1.0,
        **more,
    }


def line(rows: list[dict[str, Any]], method: str = "CWoLa") -> dict[str, str]:
    table = search_tables(rows)[0]
    (found,) = (cells for cells in table.lines if cells[0] == method)
    return dict(zip(HEADER[:6], found[:6], strict=True))


def test_numbers_are_means_over_seeds_with_their_spread() -> None:
    found = line([row("data", 1, 8.0), row("data", 2, 9.0), row("snapshot", 1, 4.0)])

    assert found["SIC on data"] == "8.50 ± 0.71"
    assert found["on the snapshot"] == "4.00"


def test_draws_are_averaged_before_seeds() -> None:
    rows = [row("byte_equal", 1, sic) for sic in (1.0, 3.0)] + [row("byte_equal", 2, 2.0)]
    assert line(rows)["on stored events"] == "2.00 ± 0.00"


def test_the_share_that_is_kept_is_of_seeds_that_both_have() -> None:
    found = line([row("data", 1, 8.0), row("data", 2, 100.0), row("snapshot", 1, 6.0)])

    assert found["kept"] == "75 %"
    assert found["aim"] == "85 %"


def test_rows_of_other_settings_than_the_last_are_left_out() -> None:
    found = line([row("data", 1, 100.0, settings="other"), row("data", 1, 8.0)])
    assert found["SIC on data"] == "8.00"


def test_ceilings_stand_with_the_data() -> None:
    found = line([row("truth", 1, 10.5, method="optimum")], "optimum")

    assert found["SIC on data"] == "10.50"
    assert found["kept"] == "–"


def test_stored_signal_region_is_compared_with_the_published_method() -> None:
    rows = [row("data", 1, 8.0, method="cathode"), row("snapshot", 1, 6.0, method="cathode_stored")]
    assert line(rows, "CATHODE, stored signal region")["kept"] == "75 %"


def test_the_best_methods_of_two_places_may_differ() -> None:
    rows = [row("data", 1, 8.0), row("data", 1, 5.0, method="anode")]
    rows += [row("snapshot", 1, 4.0), row("snapshot", 1, 6.0, method="anode")]

    found = line(rows, "best of each")

    assert found["SIC on data"] == "8.00 (CWoLa)"
    assert found["on the snapshot"] == "6.00 (ANODE)"
    assert found["kept"] == "75 %"


def test_the_best_method_has_seen_as_many_streams_as_the_others() -> None:
    rows = [row("data", 1, 8.0), row("data", 2, 8.0), row("data", 1, 9.0, method="anode")]
    assert line(rows, "best of each")["SIC on data"] == "8.00 (CWoLa)"


def test_sizes_are_told_in_bytes() -> None:
    sizes = search_tables([row("snapshot", 1, 6.0), row("byte_equal", 1, 2.0, n_events=200)])[-1]

    assert sizes.lines == (("0.3 %", "1", "1,000", "20,000", "4,000", "20 %", "10", "200", "1"),)
