"""The table of faults: names, and what the documentation says of them."""

from pathlib import Path

import pytest

from onlineflows.chaos.matrix import FAULTS, chosen
from onlineflows.chaos.page import render
from onlineflows.errors import ConfigError, DataError

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reliability.md"


def test_an_unknown_fault_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="got 'consumer_kil'; nearest known: 'consumer_kill'"):
        chosen(["consumer_kil"])


def test_without_names_all_faults_are_run() -> None:
    assert chosen([]) == list(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text()


def test_the_tables_on_the_page_are_those_of_its_documents() -> None:
    page = PAGE.read_text()
    assert "<!-- chaos: faults -->" in page
    assert page == render(page, PAGE.with_suffix(""))


def test_a_page_without_its_documents_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="onlineflows chaos --json >"):
        render("<!-- chaos: faults -->\n<!-- /chaos -->", tmp_path)
