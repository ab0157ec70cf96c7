"""Everything that a consumer needs to go on where it was: one atomic checkpoint."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onlineflows.errors import CheckpointError
from onlineflows.online.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig
from streams import EventSchema, SchemaError
from streams.consumer_ledger import ConsumerLedger
from streams.protocol import Position

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """Where a consumer stands: what it has learned, and its accounts of the stream so far.

    Args:
        learner: what has been learned.
        ledger: what became of every event.
        position: the acknowledged position, once this is durable.
        stream: what the producer said at the begin of the run.
    """

    learner: Learner
    ledger: ConsumerLedger
    position: Position
    stream: Mapping[str, Any]


def save(folder: Path, stand: Stand) -> None:
    """Writes a checkpoint.

    Raises:
        CheckpointError: the disk refused; older checkpoints are as they were.
    """
    learned = stand.learner.state()
    document = {
        "position": stand.position.to_dict(),
        "ledger": stand.ledger.to_dict(),
        "learner": learned.document,
        "learner_config": _plain(stand.learner.config),
        "run": stand.stream,
    }
    write_checkpoint(folder, Checkpoint(document, learned.arrays), serial=stand.position.next_event)


def load(folder: Path, config: LearnerConfig) -> Stand:
    """Returns what the newest undamaged checkpoint holds; damaged ones are logged.

    Raises:
        CheckpointError: there is none, or it is of another configuration.
    """
    checkpoint, damaged = read_checkpoint(folder)
    for problem in damaged:
        logger.warning("damaged checkpoint passed over", extra={"problem": problem})
    document = checkpoint.document
    try:
        learned_with, schema = document["learner_config"], document["run"]["schema"]
        if learned_with != _plain(config):
            raise CheckpointError(
                f"{folder}: expected a checkpoint of this configuration; "
                f"got one of another: {_difference(learned_with, _plain(config))}"
            )
        learner = Learner(EventSchema.from_dict(schema), config)
        learner.load(Checkpoint(document["learner"], checkpoint.arrays))
        return Stand(
            learner,
            ConsumerLedger.from_dict(document["ledger"]),
            Position.from_dict(document["position"]),
            document["run"],
        )
    except (KeyError, TypeError, SchemaError) as error:
        raise CheckpointError(
            f"{folder}: expected a consumer's checkpoint; got {error!r}"
        ) from error


def _plain(config: LearnerConfig) -> dict[str, Any]:
    """A configuration as JSON would give it back."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return document


def _difference(found: Any, expected: Any, name: str = "") -> str:
    """The first setting in which two configurations differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            if found.get(key) != expected.get(key):
                return _difference(found.get(key), expected.get(key), f"{name}.{key}".strip("."))
    return f"{name} was {found!r} and is {expected!r} now"
