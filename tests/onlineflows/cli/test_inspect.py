"""`onlineflows inspect`: what a snapshot says of itself, its page, and snapshots that are none."""

import re
import shutil
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import onlineflows.cli.inspect_page
from onlineflows.online.learned import MODEL_FILE
from onlineflows.online.manifest import MANIFEST_FILE
from onlineflows.online.seal import sealed, unsealed
from onlineflows.online.snapshot import snapshot_nbytes
from replay.sinks import open_sink
from streams import LHCO, EventSchema, Feature


@pytest.fixture
def snapshot(finished_run: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(finished_run / "snapshots" / "latest", tmp_path / "snapshot"))


@pytest.fixture
def few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlineflows.cli.inspect_page, "FIGURE_EVENTS", 2000)


@pytest.mark.parametrize("inside", ["", "snapshots", "snapshots/latest", "snapshots/000001"])
def test_a_run_and_every_folder_in_it_mean_its_latest_snapshot(
    inside: str, command, finished_run: Path
) -> None:
    document = command("inspect", finished_run / inside, "--json").document
    assert document["snapshot"] == str((finished_run / "snapshots" / "000001").resolve())
    assert document["manifest"]["n_trained"] == 8000


def test_a_snapshot_says_what_it_holds(command, finished_run: Path) -> None:
    said = command("inspect", finished_run)
    nbytes = snapshot_nbytes(finished_run / "snapshots" / "latest")
    for words in (
        "small, run 1 (lossless)",
        "mjj, mJ1, dmJ, tau21J1, tau21J2",
        f"{nbytes:,} bytes",
    ):
        assert words in said.out
    assert re.search(r"condition +good", said.out)
    assert re.search(r"newest NLL +\S+ nats per event, mean of the newest [\d,]+ eval", said.out)
    assert re.search(r"gate +(passed|FAILED): \d\.\d\d of \d\.\d\d allowed, on 2,048", said.out)
    assert said.err == ""


@pytest.mark.usefixtures("few_events")
@pytest.mark.parametrize(
    ("name", "magic"),
    [
        ("page.png", b"\x89PNG"),
        pytest.param("page.pdf", b"%PDF", marks=pytest.mark.slow),
    ],
)
def test_a_snapshot_is_drawn(
    name: str, magic: bytes, command, finished_run: Path, tmp_path: Path
) -> None:
    said = command("inspect", finished_run, "--figure", tmp_path / name, "-q")
    assert (said.code, said.err) == (0, "")
    assert (tmp_path / name).read_bytes().startswith(magic)
    assert str(tmp_path / name) in said.out.replace("\n", "")


@pytest.mark.slow
@pytest.mark.usefixtures("few_events")
def test_a_snapshot_is_drawn_beside_events(command, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.toml").write_text("[source]\ntype = 'standin'\nn_events = 3000\n")
    figure = tmp_path / "page.png"
    said = command(
        "inspect", finished_run, "--data", tmp_path / "truth.toml", "--figure", figure, "-q"
    )
    assert (said.code, said.err) == (0, "")
    alone = tmp_path / "alone.png"
    command("inspect", finished_run, "--figure", alone, "-q")
    assert figure.read_bytes() != alone.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "events.npy"], "--data: expected a --figure or an --html page"),
        (["--html", "page.txt"], "--html: expected a name ending in .html; got page.txt"),
        (["--html", "none/page.html"], "--html: expected a file in an existing folder"),
        (["--set", "source.seed=2"], "--set source.seed=2: expected --data with a TOML file"),
        (["--figure", "page.jpg"], "--figure: expected a name ending in .png or .pdf"),
        (["--figure", "none/page.png"], "--figure: expected a file in an existing folder"),
        (["--figure", "page.png", "--data", "none.npy"], "expected an existing file; got 'none"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], message: str, refused, finished_run: Path, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused("inspect", finished_run, *options)


def test_events_of_another_schema_are_not_drawn(refused, finished_run: Path, tmp_path) -> None:
    other = EventSchema((Feature("m", "GeV", 0, 1), Feature("mJ1", "GeV", 0, 1)))
    with open_sink(tmp_path / "events.h5", other) as sink:
        sink.write(np.ones((3, 2), np.float32))
    page = tmp_path / "page.png"
    said = refused("inspect", finished_run, "--data", tmp_path / "events.h5", "--figure", page)
    assert "expected a column 'mjj'" in said
    assert not page.exists()


def flipped(path: Path) -> None:
    content = bytearray((path / MODEL_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (path / MODEL_FILE).write_bytes(bytes(content))


def shortened(path: Path) -> None:
    (path / MODEL_FILE).write_bytes((path / MODEL_FILE).read_bytes()[:-100])


def without(key: str) -> Callable[[Path], None]:
    def remove(path: Path) -> None:
        manifest = unsealed((path / MANIFEST_FILE).read_bytes())
        del manifest[key]
        (path / MANIFEST_FILE).write_bytes(sealed(manifest))

    return remove


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flipped, "expected SHA-256 .* the file is damaged"),
        (shortened, "expected SHA-256 .* the file is damaged"),
        (lambda p: (p / MODEL_FILE).unlink(), "expected a readable snapshot; got .*No such file"),
        (lambda p: (p / MANIFEST_FILE).unlink(), "expected a snapshot .* got none of them"),
        (lambda p: (p / MANIFEST_FILE).write_text("{"), "expected a manifest; got"),
        (lambda p: (p / MANIFEST_FILE).write_text("[]"), "expected a manifest; got"),
        (lambda p: (p / MANIFEST_FILE).write_bytes(b"\xff"), "expected a manifest; got"),
        (without("n_seen"), "expected a manifest; got 'Field required' for n_seen"),
        (without("format"), "expected snapshot format 3; got None"),
        (without("sha256"), "expected SHA-256 None; got"),
    ],
)
def test_a_damaged_snapshot_is_refused(damage, message: str, refused, snapshot: Path) -> None:
    damage(snapshot)
    assert re.search(message, said := refused("inspect", snapshot)), said


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_path_without_a_snapshot_is_refused(name: str, refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    said = refused("inspect", tmp_path / name)
    assert f"{tmp_path / name}: expected a snapshot (manifest.json and model.safetensors)" in said


def test_a_snapshot_of_the_lhco_schema_names_its_units(command, finished_run: Path) -> None:
    schema = command("inspect", finished_run, "--json").document["manifest"]["schema"]
    assert [f["unit"] for f in schema["features"]] == [f.unit for f in LHCO.features]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that would have been shown in the user's browser."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    return addresses


@pytest.mark.usefixtures("few_events")
def test_a_page_of_its_own_fetches_nothing_and_holds_what_is_known(
    command, run_of_models: Path, tmp_path: Path, opened: list[str]
) -> None:
    page = tmp_path / "page.html"
    said = command("inspect", run_of_models, "--html", page, "-q")
    assert (said.code, said.err, opened) == (0, "", [])
    text = page.read_text()
    assert set(re.findall(r'(?:src|href)="([^"]{0,12})', text)) == {"data:image/s"}
    assert not re.search(r"https?://|<script|url\(", re.sub(r"base64,[^\"]*", "", text))
    assert text.count("<figure") == 4
    for words in ("Tainted: model &#39;late&#39;", "inside [3.1, 3.9]", "mjj (resonant)", "TeV"):
        assert words in text


@pytest.mark.usefixtures("few_events")
def test_a_page_is_opened_where_it_was_written(
    command, finished_run: Path, tmp_path: Path, opened: list[str]
) -> None:
    page = tmp_path / "page.html"
    command("inspect", finished_run, "--html", page, "--open", "-q")
    assert opened == [page.as_uri()]


@pytest.mark.usefixtures("few_events")
def test_a_page_that_is_only_opened_is_a_temporary_file(
    command, finished_run: Path, tmp_path: Path, opened: list[str], monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    document = command("inspect", finished_run, "--open", "--json").document
    assert Path(document["page"]).parent.parent == tmp_path
    assert opened == [Path(document["page"]).as_uri()]
    assert Path(document["page"]).name == "small-000001.html"


@pytest.fixture
def run_of_lanes(finished_run: Path, tmp_path: Path) -> Path:
    """A run of three lanes, one of which has no snapshot yet."""
    run = tmp_path / "run"
    for lane in (0, 10):
        snapshots = run / f"lane-{lane}" / "snapshots"
        shutil.copytree(finished_run / "snapshots", snapshots, symlinks=True)
    (run / "lane-2").mkdir()
    return run


def test_a_run_of_lanes_names_them(command, run_of_lanes: Path) -> None:
    said = command("inspect", run_of_lanes)
    assert said.code == 0
    assert re.findall(r"^lane-\d+ +\w+", said.out, re.MULTILINE) == [
        "lane-0   000001",
        "lane-2   none",
        "lane-10  000001",
    ]
    document = command("inspect", run_of_lanes, "--json").document
    assert [lane["snapshot"] is None for lane in document["lanes"]] == [False, True, False]


def test_what_wants_one_snapshot_is_told_which_lanes_there_are(
    refused, run_of_lanes: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.png"
    for arguments in (["inspect", run_of_lanes, "--figure", page], ["sample", run_of_lanes, page]):
        said = refused(*arguments)
        assert f"choose {run_of_lanes / 'lane-0'} or another of lane-0, lane-2, lane-10" in said
