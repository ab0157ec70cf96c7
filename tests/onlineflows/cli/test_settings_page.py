"""The reference of settings says what the dataclasses say, and all of it."""

import dataclasses
from pathlib import Path

import pytest

from onlineflows.cli.config import Config, load_config
from onlineflows.cli.settings_page import MARK, read_docstring, render, toml_type
from onlineflows.errors import DataError
from onlineflows.settings import BufferConfig

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_what_the_sources_say() -> None:
    page = PAGE.read_text()
    assert render(page) == page, (
        "the settings have changed: python -m onlineflows.cli.settings_page docs/configuration.md"
    )


@pytest.mark.parametrize("section", [field.name for field in dataclasses.fields(Config)])
def test_every_section_has_a_heading(section: str) -> None:
    assert f"\n## `[{section}]`" in PAGE.read_text() or f"\n## `[[{section}]]`" in PAGE.read_text()


def test_every_setting_is_explained() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_a_documented_default_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text('[source]\ntype = "standin"\n')
    config = load_config(tmp_path / "empty.toml")
    assert f"| `capacity` | integer | `{config.buffer.capacity:_}` |" in PAGE.read_text()


def test_fields_that_share_a_line_share_its_meaning() -> None:
    @dataclasses.dataclass
    class Pair:
        """A pair.

        Args:
            low, high: ends of an
                interval.
            unit: of both.
        """

    assert read_docstring(Pair) == (
        "A pair.",
        {"low": "ends of an interval.", "high": "ends of an interval.", "unit": "of both."},
    )


def test_a_summary_ends_where_the_arguments_begin() -> None:
    assert read_docstring(BufferConfig)[0] == (
        "The bounded buffer that events live in while they last."
    )


def test_types_are_named_as_toml_has_them() -> None:
    assert toml_type(tuple[tuple[float, float], ...]) == "array of [number, number]"


def test_a_page_without_a_mark_is_refused() -> None:
    with pytest.raises(DataError, match=MARK.strip()):
        render("# Configuration\n")
