"""The page of the wire says what the messages say."""

import typing
from pathlib import Path

import pytest

import streams.messages as m
from onlineflows.cli.wire_page import messages, render, type_of

PAGE = Path(__file__).parents[3] / "docs" / "wire.md"
KINDS = [*typing.get_args(m.FromConsumer), *typing.get_args(m.FromProducer)]


def test_the_page_is_what_the_sources_say() -> None:
    page = PAGE.read_text()
    assert render(page) == page, (
        "the protocol has changed: python -m onlineflows.cli.wire_page docs/wire.md"
    )


def test_the_page_names_the_version_and_the_limits() -> None:
    page = PAGE.read_text()
    assert f"The protocol's version is {m.VERSION}." in page
    assert f"at most {m.MAX_HEADER_NBYTES:,} bytes" in page


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_message_is_on_the_page(kind: type) -> None:
    tag = kind.__struct_config__.tag  # type: ignore[attr-defined]
    section = messages().partition(f"### {tag}\n")[2].partition("### ")[0]
    fields = kind.__struct_fields__  # type: ignore[attr-defined]
    assert [name for name in fields if f"| `{name}` |" not in section] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_has_one_sender(kind: type) -> None:
    tag = kind.__struct_config__.tag  # type: ignore[attr-defined]
    section = messages().partition(f"### {tag}\n")[2].partition("### ")[0]
    sender = "consumer" if kind in typing.get_args(m.FromConsumer) else "producer"
    assert section.count("Sent by the") == 1
    assert f"Sent by the {sender}." in section


def test_every_refusal_is_explained() -> None:
    states = PAGE.read_text().partition("## States")[2].partition("\n## ")[0]
    assert [code for code in typing.get_args(m.RefusalCode) if f"`{code}`" not in states] == []


def test_a_type_without_a_name_is_refused() -> None:
    with pytest.raises(KeyError, match="complex"):
        type_of(complex)
