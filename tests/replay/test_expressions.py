"""The expression language: values against Python's own, and everything that is refused."""

import awkward as ak
import numpy as np
import pytest

from replay.sources.expressions import MAX_LENGTH, Expression
from streams import InputError

COLUMNS = {
    "MET": np.array([10.0, 20.0, 30.0]),
    "HT": np.array([100.0, 0.0, 300.0]),
    "Jet_pt": ak.Array([[50.0, 40.0, 20.0], [], [70.0, 10.0]]),
    "Jet_eta": ak.Array([[0.5, -1.0, 2.0], [], [0.0, 1.0]]),
    "Jet_phi": ak.Array([[3.0, -3.0, 0.0], [], [1.0, -1.0]]),
    "Jet_mass": ak.Array([[5.0, 4.0, 2.0], [], [0.0, 0.0]]),
}
NAN = float("nan")


def evaluate(text: str):
    return Expression(text, where="a test").evaluate(COLUMNS, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MET", [10, 20, 30]),
        ("2", [2, 2, 2]),
        ("MET + HT * 2 - 1", [209, 19, 629]),
        ("-MET ** 2", [-100, -400, -900]),
        ("+MET / 4", [2.5, 5, 7.5]),
        ("sqrt(HT) + abs(-MET)", [20, 20, np.sqrt(300) + 30]),
        ("log(exp(MET))", [10, 20, 30]),
        ("MET > 15", [0, 1, 1]),
        ("10 < MET <= 20", [0, 1, 0]),
        ("MET == 20 or HT == 300", [0, 1, 1]),
        ("MET > 15 and not HT > 200", [0, 1, 0]),
        ("(MET > 5) + (MET > 15)", [1, 2, 2]),
        ("-(MET > 15)", [0, -1, -1]),
        ("Jet_pt[0]", [50, NAN, 70]),
        ("Jet_pt[-1]", [20, NAN, 10]),
        ("Jet_pt[2]", [20, NAN, NAN]),
        ("(Jet_pt * 2)[1]", [80, NAN, 20]),
        ("sum(Jet_pt)", [110, 0, 80]),
        ("sum(Jet_pt > 15)", [3, 0, 1]),
        ("sum(Jet_pt * (abs(Jet_eta) < 1.5))", [90, 0, 80]),
        ("count(Jet_pt)", [3, 0, 2]),
        ("max(Jet_pt)", [50, NAN, 70]),
        ("min(Jet_pt)", [20, NAN, 10]),
        ("max(MET, HT, 25)", [100, 25, 300]),
        ("min(MET, 15)", [10, 15, 15]),
        ("sum(Jet_pt / MET)", [11, 0, 80 / 30]),
        ("9 ** 9 ** 9", [np.inf] * 3),
        ("MET / HT", [0.1, np.inf, 0.1]),
    ],
)
def test_an_expression_has_the_value_that_it_says(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(evaluate(text).values, expected)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Jet_pt[0]", [False, True, False]),
        ("Jet_pt[-3]", [False, True, True]),
        ("Jet_pt[1] > 5 or MET > 0", [False, True, False]),
        ("max(Jet_pt)", [False, True, False]),
        ("sum(Jet_pt)", [False, False, False]),
        ("mass(Jet[0], Jet[2])", [False, True, True]),
    ],
)
def test_events_without_a_needed_element_are_missing(text: str, missing: list[bool]) -> None:
    assert evaluate(text).missing.tolist() == missing


def test_the_mass_of_massless_particles_agrees_with_the_angular_formula() -> None:
    expected = np.sqrt(2 * 70 * 10 * (np.cosh(1.0) - np.cos(2.0)))
    assert evaluate("mass(Jet[0], Jet[1])").values[2] == pytest.approx(expected)


def test_the_mass_of_one_particle_is_its_own() -> None:
    assert evaluate("mass(Jet[0])").values[0] == pytest.approx(5.0)


def test_the_azimuthal_distance_wraps_around() -> None:
    expected = np.hypot(1.5, 2 * np.pi - 6.0)
    assert evaluate("delta_r(Jet[0], Jet[1])").values[0] == pytest.approx(expected)


def test_the_needed_branches_are_known_before_anything_is_read() -> None:
    expression = Expression("delta_r(Jet[0], Muon[1]) * MET + sum(Tau_pt)", where="a test")
    fields = ("pt", "eta", "phi", "mass")
    assert expression.branches == {"MET", "Tau_pt"} | {
        f"{collection}_{name}" for collection in ("Jet", "Muon") for name in fields
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "1 +",
        "MET MET",
        "__import__('os').system('true')",
        "MET.real",
        "(lambda: 1)()",
        "[MET]",
        "{MET}",
        "'text'",
        "MET if HT else 1",
        "MET @ HT",
        "MET // HT",
        "MET % 2",
        "MET & HT",
        "~MET",
        "MET is HT",
        "MET in HT",
        "[x for x in MET]",
        "f'{MET}'",
        "(y := MET)",
        "open(MET)",
        "sqrt(MET, HT)",
        "sqrt(x=MET)",
        "sum()",
        "count(Jet_pt, Jet_eta)",
        "mass()",
        "mass(MET)",
        "mass(Jet[0] + Jet[1])",
        "delta_r(Jet[0])",
        "Jet_pt[MET]",
        "Jet_pt[0:1]",
        "Jet_pt[0.5]",
        "Jet_pt[1, 2]",
        "Jet_pt[99999999999999999999]",
        "None",
        "1j",
        "MET" + " + MET" * MAX_LENGTH,
        "(" * 500 + "MET" + ")" * 490,
        "-" * 990 + "MET",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected"):
        evaluate(text)


def test_an_unknown_function_names_the_nearest() -> None:
    with pytest.raises(InputError, match="nearest known: 'delta_r'"):
        Expression("deltar(Jet[0], Jet[1])", where="a test")


@pytest.mark.parametrize("text", ["Jet_pt", "Jet_pt > 30", "abs(Jet_eta)"])
def test_a_list_per_event_is_refused_with_advice(text: str) -> None:
    with pytest.raises(InputError, match="one number per event"):
        evaluate(text)


@pytest.mark.parametrize("text", ["MET[0]", "sum(MET)", "count(HT)", "max(MET)"])
def test_a_number_per_event_has_no_elements(text: str) -> None:
    with pytest.raises(InputError, match="expected a list per event"):
        evaluate(text)


def test_lists_of_different_lengths_do_not_mix() -> None:
    columns = COLUMNS | {"Tau_pt": ak.Array([[1.0], [2.0], [3.0]])}
    with pytest.raises(InputError, match="lists of equal lengths"):
        Expression("sum(Jet_pt * Tau_pt)", where="a test").evaluate(columns, 3)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("MET > 1 && HT > 2", "&&: write 'and'"),
        ("MET > 1 || HT > 2", r"\|\|: write 'or'"),
        ("!(MET > 1)", "!: write 'not'"),
        ("MET != 1 +", "invalid syntax at character"),
    ],
)
def test_a_cut_in_the_words_of_another_language_is_refused_with_advice(
    text: str, advice: str
) -> None:
    with pytest.raises(InputError, match=advice):
        evaluate(text)


def test_errors_say_where_the_expression_stands() -> None:
    with pytest.raises(InputError, match=r"source\.cut"):
        Expression("MET +", where="source.cut")
