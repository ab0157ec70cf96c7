"""TTree and RNTuple, flat and jagged, real CMS files, and everything that can be wrong."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from replay.observables import Jets, dijet_observables
from replay.settings import RootConfig, RootFeatureConfig, SelectionConfig
from replay.sources.root import RootReader, leading_two, open_root
from replay.sources.tree import Tree
from streams import LHCO, InputError, Status

MET = RootFeatureConfig("met", "met", "GeV", 0.0, 1000.0)


def reader(path: Path, **settings) -> RootReader:
    return RootReader(path, RootConfig("root", str(path), **settings))


@pytest.fixture(params=["tree", "rntuple"])
def write(request, write_tree, write_rntuple):
    return {"tree": write_tree, "rntuple": write_rntuple}[request.param]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nano.root"


def test_the_dijet_observables_are_those_of_the_same_jets(path, write, jet_events) -> None:
    events = jet_events(120)
    rows = reader(write(path, events), dijet="FatJet", label="isSignal").read_rows(0, 120)
    table = events.table
    expected = dijet_observables(Jets.from_table(table[:, :6]), Jets.from_table(table[:, 7:13]))
    np.testing.assert_allclose(rows.x, expected.x, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(rows.label, events.label)


def test_part_of_a_file_is_that_part(path, write, jet_events) -> None:
    opened = reader(write(path, jet_events(120)), dijet="FatJet")
    np.testing.assert_array_equal(opened.read_rows(37, 111).x, opened.read_rows(0, 120).x[37:111])


def test_a_collection_of_another_name_is_read(path, write, jet_events) -> None:
    opened = reader(write(path, jet_events(20), prefix="ScoutingFatJet"), dijet="ScoutingFatJet")
    assert (opened.read_rows(0, 20).status == Status.GOOD).all()


def test_a_table_of_expressions_makes_the_schema_and_the_features(path, write, jet_events) -> None:
    features = (RootFeatureConfig("ht", "sum(FatJet_pt)", "GeV", 0.0), MET)
    opened = reader(write(path, jet_events(20)), features=features)
    assert opened.schema.names == ("ht", "met")
    assert opened.schema.resonant.high == np.inf
    rows = opened.read_rows(0, 20)
    np.testing.assert_array_equal(rows.x[:, 1], np.arange(20))


def test_events_that_fail_the_cut_are_not_selected(path, write, jet_events) -> None:
    opened = reader(write(path, jet_events(20)), features=(MET,), cut="met >= 15")
    selected = opened.read_rows(0, 20).status == Status.GOOD
    assert np.flatnonzero(selected).tolist() == [15, 16, 17, 18, 19]


def test_events_with_too_few_jets_are_not_selected(path) -> None:
    with uproot.recreate(path) as file:
        one = {"pt": 300.0, "eta": 0.0, "phi": 0.0, "mass": 5.0, "tau1": 0.2, "tau2": 0.1}
        jets = ak.Array([[one, one], [one], [], [one, one, one]])
        file.mktree("Events", {"FatJet": ak.type(jets).content})
        file["Events"].extend({"FatJet": jets})
    status = reader(path, dijet="FatJet").read_rows(0, 4).status
    assert status.tolist() == [0, Status.NOT_SELECTED, Status.NOT_SELECTED, 0]


def test_values_that_are_not_finite_are_bad_input(path) -> None:
    with uproot.recreate(path) as file:
        file["Events"] = {"met": np.array([1.0, np.nan, np.inf, 2.0])}
    status = reader(path, features=(MET,)).read_rows(0, 4).status
    assert status.tolist() == [0, Status.NOT_A_NUMBER, Status.INFINITE, 0]


def test_unsigned_counters_do_not_wrap(path) -> None:
    with uproot.recreate(path) as file:
        file["Events"] = {"nJet": np.array([1, 5], dtype=np.uint32)}
    opened = reader(path, features=(RootFeatureConfig("spare", "nJet - 3"),))
    assert opened.read_rows(0, 2).x[:, 0].tolist() == [-2, 2]


def test_the_leading_two_are_found_in_any_order() -> None:
    columns = {
        f"J_{name}": ak.Array([[1.0, 3.0, 2.0], [5.0]])
        for name in ("pt", "eta", "phi", "mass", "tau1", "tau2")
    }
    first, second, exists = leading_two(columns, "J")
    assert exists.tolist() == [True, False]
    assert (first.mass[0], second.mass[0]) == (3.0, 2.0)
    assert np.isnan(first.mass[1])


def test_a_missing_tree_names_the_nearest(path, write, jet_events) -> None:
    write(path, jet_events(5))
    with pytest.raises(InputError, match=r"'Event'; nearest known: 'Events'"):
        reader(path, tree="Event", features=(MET,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": (RootFeatureConfig("m", "mett"),)}, r"branch 'mett'; nearest known: 'met'"),
        ({"dijet": "Fatjet"}, r"branch 'Fatjet_eta'; nearest known: 'FatJet_eta'"),
        ({"dijet": "FatJet", "cut": "MET > 3"}, "expected a branch 'MET'"),
        ({"dijet": "FatJet", "label": "isSig"}, r"branch 'isSig'; nearest known: 'isSignal'"),
    ],
)
def test_a_missing_branch_names_the_nearest(path, write, jet_events, settings, message) -> None:
    write(path, jet_events(5))
    with pytest.raises(InputError, match=message):
        reader(path, **settings)


@pytest.mark.parametrize("settings", [{}, {"dijet": "FatJet", "features": (MET,)}])
def test_either_a_dijet_or_features_are_needed(path, write, jet_events, settings) -> None:
    write(path, jet_events(5))
    with pytest.raises(InputError, match=r"either source\.dijet or source\.features"):
        reader(path, **settings)


def test_a_list_where_a_number_is_needed_shows_at_the_start(path, write, jet_events) -> None:
    write(path, jet_events(5))
    with pytest.raises(InputError, match="one number per event"):
        reader(path, features=(RootFeatureConfig("pt", "FatJet_pt"),))


def test_text_branches_are_refused(path) -> None:
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", {"name": ak.Array(["one", "two"])})
    with pytest.raises(InputError, match="numbers or lists of numbers"):
        reader(path, features=(RootFeatureConfig("name", "name"),))


def test_labels_other_than_zero_and_one_are_refused(path, write, jet_events) -> None:
    write(path, jet_events(5))
    with pytest.raises(InputError, match="expected labels 0 or 1"):
        reader(path, features=(MET,), label="met + 2")


def test_a_text_file_is_refused(path: Path) -> None:
    path.write_text("mjj mJ1\n" * 200)
    with pytest.raises(InputError, match="expected a ROOT file; got not a ROOT file"):
        Tree(path, "Events")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path, write, jet_events, kept: float) -> None:
    content = write(path, jet_events(200)).read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=str(path)):
        reader(path, dijet="FatJet")


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_give_an_error_of_ours_or_other_values(path, write, jet_events, seed) -> None:
    content = bytearray(write(path, jet_events(60)).read_bytes())
    rng = np.random.default_rng(seed)
    start = int(rng.integers(0, len(content) - 40))
    content[start : start + 40] = rng.bytes(40)
    path.write_bytes(bytes(content))
    try:
        source = open_root(RootConfig("root", str(path), dijet="FatJet"))
        while len(source.read(1000)):
            pass
    except InputError:
        pass


def test_a_colon_in_a_file_name_is_part_of_it(tmp_path, write, jet_events) -> None:
    path = write(tmp_path / "run:1.root", jet_events(5))
    assert reader(path, features=(MET,)).n_rows == 5


def read(test_data, name: str, **settings):
    source = open_root(RootConfig("root", str(test_data(name)), **settings))
    return source.read(1_000_000)


def test_the_generated_nano_file_agrees_with_its_selection(test_data) -> None:
    events = read(
        test_data,
        "pythia/lhco_like_nano.root",
        dijet="FatJet",
        label="genIsSignal",
        cut="FatJet_pt[0] > 1200",
    )
    assert len(events) == 20_000
    assert events.label.sum() == 1000
    assert (events.status == Status.GOOD).all()
    assert LHCO.in_support(events.x).all()
    # The resonance at 3.5 TeV.
    assert np.median(events.x[events.label == 1, 0]) == pytest.approx(3.4, abs=0.2)


def test_scouting_jets_are_dijets(test_data) -> None:
    events = read(test_data, "root/scouting_nano.root", dijet="ScoutingFatJet")
    assert (events.status == Status.GOOD).sum() == 40
    assert LHCO.in_support(events.x).all()


def test_top_pairs_with_two_fat_jets_are_selected(test_data) -> None:
    events = read(test_data, "root/nano_tt_v12.root", dijet="FatJet")
    assert np.bincount(events.status).tolist() == [33, 167]


def test_rntuple_and_tree_hold_the_same_muons(test_data) -> None:
    muons = {
        "features": (
            RootFeatureConfig("mll", "mass(Muon[0], Muon[1])"),
            RootFeatureConfig("dr", "delta_r(Muon[0], Muon[1])"),
            RootFeatureConfig("n", "nMuon"),
        )
    }
    one = read(test_data, "root/nano_dy.root", **muons)
    two = read(test_data, "root/nano_dy_rntuple.root", **muons)
    good = one.status == Status.GOOD
    assert good.sum() == 6
    np.testing.assert_array_equal(one.status, two.status)
    np.testing.assert_array_equal(one.x[good], two.x[good])


def test_the_razor_variables_are_flat(test_data) -> None:
    features = tuple(RootFeatureConfig(name, name) for name in ("MR", "Rsq", "HT", "MET"))
    events = read(
        test_data, "root/cms2010_multijet_razor.root", tree="razorTree", features=features
    )
    assert len(events) == 68_247
    assert (events.status == Status.GOOD).all()


def test_a_mass_from_the_expressions_agrees_with_the_file(test_data) -> None:
    energy = "sqrt((E1+E2)**2 - (px1+px2)**2 - (py1+py2)**2 - (pz1+pz2)**2)"
    features = (RootFeatureConfig("M", "M"), RootFeatureConfig("mass", energy))
    events = read(test_data, "root/uproot-Zmumu.root", tree="events", features=features)
    np.testing.assert_allclose(events.x[:, 0], events.x[:, 1], rtol=1e-5)


def test_jagged_momenta_give_a_mass(test_data) -> None:
    square = " - ".join(f"(Muon_{p}[0] + Muon_{p}[1])**2" for p in ("E", "Px", "Py", "Pz"))
    events = read(
        test_data,
        "root/uproot-HZZ.root",
        tree="events",
        features=(RootFeatureConfig("m", f"sqrt({square})"),),
    )
    good = events.status == Status.GOOD
    assert np.median(events.x[good]) == pytest.approx(91, abs=1.5)


def test_shuffled_real_files_hold_the_same_events(test_data) -> None:
    plain = read(test_data, "root/nano_tt_v12.root", dijet="FatJet")
    mixed = read(
        test_data, "root/nano_tt_v12.root", dijet="FatJet", selection=SelectionConfig(shuffle=True)
    )
    good, found = plain.x[plain.status == 0], mixed.x[mixed.status == 0]
    np.testing.assert_array_equal(np.sort(good, axis=0), np.sort(found, axis=0))


def test_an_ntuple_that_uproot_finds_no_column_in_is_refused(
    path, write_rntuple, jet_events, monkeypatch
) -> None:
    """Found by fuzzing: uproot lets a StopIteration out where a column's number is damaged."""
    opened = reader(write_rntuple(path, jet_events(5)), features=(MET,))

    def array(*_: object, **__: object) -> None:
        raise StopIteration

    monkeypatch.setattr(type(opened._tree._tree["met"]), "array", array)
    with pytest.raises(InputError, match=str(path)):
        opened.read_rows(0, 5)
