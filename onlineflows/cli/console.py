"""Opening a daemon's console."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.console import Console, Place, Process
from streams.errors import TransportError
from streams.settings import OperationConfig

logger = logging.getLogger(__name__)


@contextmanager
def console(folder: Path, process: Process, config: OperationConfig) -> Iterator[Console | None]:
    """Opens the console of a daemon while the block runs; None where none is wanted or possible.

    A run doesn't fail because nobody can watch it; that is only logged.

    Args:
        folder: the run directory.
        process: which daemon it is.
        config: whether there is to be one.
    """
    if not config.console:
        yield None
        return
    try:
        opened = Console(Place.of(folder, process))
    except TransportError as error:
        logger.info("no console", extra={"problem": str(error)})
        yield None
        return
    with opened:
        yield opened
