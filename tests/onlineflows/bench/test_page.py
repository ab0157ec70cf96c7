"""The page of measurements and its tables."""

import json
from pathlib import Path

import pytest

from onlineflows.bench.page import MARKED, read_document, render
from onlineflows.bench.table import Table, number
from onlineflows.errors import DataError

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "performance.md"


def test_the_page_says_what_its_documents_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert render(text, PAGE.with_suffix("")) == text


def test_every_document_is_on_the_page() -> None:
    marked = {match[2] for match in MARKED.finditer(PAGE.read_text(encoding="utf-8"))}
    assert marked == {path.stem for path in PAGE.with_suffix("").glob("*.jsonl")}


def test_a_missing_document_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="onlineflows bench train --json"):
        read_document(tmp_path / "train.jsonl")


def test_a_document_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in ({"bench": "train"}, {"flow": "x"})))
    with pytest.raises(DataError, match="last line"):
        read_document(path)


def test_text_outside_the_marks_stays() -> None:
    assert render("before <!-- other --> after", Path("nowhere")) == "before <!-- other --> after"


def test_a_table_is_written_in_markdown() -> None:
    table = Table("Rates", ("flow", "events/s"), (("a", "1"),))
    assert table.markdown() == "**Rates**\n\n| flow | events/s |\n| --- | ---: |\n| a | 1 |"


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.6e3, "1.00 M"), (999.4e3, "999 k"), (12_345.0, "12.3 k"), (0.5, "0.5"), (None, "–")],
)
def test_rates_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text
