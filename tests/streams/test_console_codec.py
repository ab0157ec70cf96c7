"""Requests, replies and telemetry as bytes: what was said is what is understood, or nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.console_codec import (
    decode_reply,
    decode_request,
    decode_telemetry,
    encode,
    plain,
)
from streams.control import VERBS, Reply, Request
from streams.errors import MessageError
from streams.telemetry import ConsumerTelemetry, DriftAlarm, HistoryPoint, Marginal

CONSUMER = ConsumerTelemetry(
    sequence=3,
    unix_s=1.5,
    pid=7,
    state="running",
    name="demo",
    lane=0,
    n_seen=100,
    n_trained=90,
    n_events=None,
    n_uses=360,
    n_steps=2,
    train_s=0.5,
    skipped={"out_of_support": 1},
    lost=0,
    unread_batches=1,
    window_batches=16,
    buffer_fill=0.5,
    buffer_nbytes=1000,
    lumisection=1,
    history=[HistoryPoint(50, -1.5)],
    alarms=[DriftAlarm(60, 1, -1.5, -1.0)],
    n_alarms=1,
    marginals=[Marginal("mjj", "TeV", 2.0, 6.0, [1, 2], 3)],
)


@given(st.sampled_from(VERBS), st.none() | st.floats(0, 2**62))
def test_a_request_survives_the_way(verb: str, amount: float | None) -> None:
    request = Request(verb, amount)  # type: ignore[arg-type]
    assert decode_request(encode(request)) == request


def test_telemetry_survives_the_way() -> None:
    assert decode_telemetry(encode(CONSUMER)) == CONSUMER


def test_telemetry_is_plain_json() -> None:
    document = json.loads(json.dumps(plain(CONSUMER)))
    assert document["type"] == "consumer"
    assert document["history"] == [[50, -1.5]]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_an_error(frame: bytes) -> None:
    for decode in (decode_request, decode_reply, decode_telemetry):
        try:
            decode(frame)
        except MessageError:
            continue


@pytest.mark.parametrize(
    "frame",
    [
        encode(Reply(True, "x")),
        encode(CONSUMER),
        encode(Request("burst", 1.0)).replace(b"burst", b"brust"),
        encode(Request("burst", 1.0)).replace(b"amount", b"amaunt"),
        b"\x00" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError, match="expected a request"):
        decode_request(frame)


def test_telemetry_of_another_version_is_refused() -> None:
    other = encode(CONSUMER).replace(b"\xa7version\x01", b"\xa7version\x02")
    with pytest.raises(MessageError, match="expected telemetry"):
        decode_telemetry(other)
