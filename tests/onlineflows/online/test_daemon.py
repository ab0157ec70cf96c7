"""The daemon between a real socket and its learner: what it tells a producer before it leaves."""

import threading
import time
from pathlib import Path

import pytest

from onlineflows.errors import ConfigError
from onlineflows.online.consumer import ConsumerConfig
from onlineflows.online.daemon import run_consumer
from onlineflows.online.rundir import RunDirectory
from onlineflows.settings import LearnerConfig, ModelConfig
from streams import EventSchema, Feature, RefusedError, RunBegan, WireConfig
from streams.transport import Sender

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
BEYOND = LearnerConfig(models=(ModelConfig("window", inside=(20.0, 30.0)),))
"""A window that no event of the schema can be in."""


def poll_for(sender: Sender, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sender.poll(0.1)


def test_a_stream_that_can_not_be_learned_is_refused_in_words(tmp_path: Path) -> None:
    wire = WireConfig(address="tcp://127.0.0.1:*", connect_timeout_s=10)
    directory = RunDirectory(tmp_path / "run")
    directory.prepare("fresh")
    said: list[str] = []
    with Sender(wire, RunBegan("ab" * 16, 1, SCHEMA, "lossless")) as sender:
        there = WireConfig(address=sender.address, connect_timeout_s=10)

        def learn() -> None:
            with pytest.raises(ConfigError) as error:
                run_consumer(ConsumerConfig("mine", there, BEYOND), directory)
            said.append(str(error.value))

        learner = threading.Thread(target=learn)
        learner.start()
        with pytest.raises(RefusedError, match="consumer 'mine' refuses: ") as refused:
            poll_for(sender, seconds=30)
        learner.join()
        assert not sender.is_connected
    assert "window" in said[0]
    assert str(refused.value).endswith(said[0])
