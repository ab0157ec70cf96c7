"""The page of physics studies says what its records say."""

from pathlib import Path

import pytest

from onlineflows.bench.physics_page import MARKED, TABLES, render

PAGE = Path(__file__).parents[3] / "docs" / "physics.md"
NAMES = [match[2] for match in MARKED.finditer(PAGE.read_text(encoding="utf-8"))]


def test_the_page_says_what_its_records_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert render(text, PAGE.with_suffix("")) == text


def test_every_record_is_on_the_page() -> None:
    assert {path.stem for path in PAGE.with_suffix("").glob("*.jsonl")} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_somebody_makes_the_tables_of_every_study(name: str) -> None:
    assert name.split("-")[0] in TABLES


def test_what_was_not_measured_says_how(tmp_path: Path) -> None:
    page = "<!-- study: search-standin -->\n<!-- /study -->"
    assert "onlineflows bench search" in render(page, tmp_path)
