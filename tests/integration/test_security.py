"""Both daemons with keys, as the documents tell it, and a snapshot that is signed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_daemons_with_keys_leave_a_snapshot_that_is_genuine(
    start: Callable[..., Any], small: dict[str, object], tmp_path: Path
) -> None:
    for name, kind in (("producer", ()), ("consumer", ()), ("signer", ("--signing",))):
        start("keys", "make", name, *kind).finish()
    start("keys", "allow", "keys/allowed", "keys/consumer.public").finish()
    settings = small | {
        "source.n_events": 6000,
        "wire.security.producer_secret": "keys/producer.secret",
        "wire.security.producer_public": "keys/producer.public",
        "wire.security.consumer_secret": "keys/consumer.secret",
        "wire.security.allowed": "keys/allowed",
        "snapshot.signing_key": "keys/signer.secret",
    }
    replay = start("replay", "--json", **settings)
    train = start("train", "--json", **settings)
    assert train.result()["ledger"]["trained"] == 6000
    assert replay.result()["is_acknowledged"]
    run = "runs/default"
    start("inspect", run, "--verify", "keys/signer.public").finish(0)
    start("inspect", run, "--verify", "keys/producer.public").finish(2)
    model = tmp_path / run / "snapshots" / "latest" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    start("inspect", run, "--verify", "keys/signer.public").finish(1)
