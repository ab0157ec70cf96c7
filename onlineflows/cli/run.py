"""`onlineflows run`: both daemons on this machine, in two processes."""

import dataclasses
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from onlineflows.cli.config import Config
from onlineflows.cli.exits import FAILED
from onlineflows.cli.output import Output
from onlineflows.cli.replay import replay_for
from onlineflows.cli.signals import StopFlag
from onlineflows.cli.train import conclude, consume, nothing_left
from onlineflows.errors import ConfigError
from onlineflows.online.rundir import RunDirectory, Start

ANY_PORT = "tcp://127.0.0.1:*"
"""Both ends are ours, so any free port does."""

GOODBYE_S = 30.0
"""How long the producer may take to leave once the run has ended."""


def run(config: Config, output: Output, *, start: Start) -> int:
    """Starts the producer, learns from it until its run ends; returns the exit code."""
    if config.wire.lanes > 1:
        raise ConfigError(
            f"wire.lanes: expected 1, as `run` starts one consumer; got {config.wire.lanes}: start "
            "`onlineflows replay` and a `onlineflows train --lane K` for each lane"
        )
    directory = RunDirectory(config.run.path)
    if start == "continue" and directory.has_ended:
        return nothing_left(config, output)
    start = directory.resolve(start)
    directory.check(start)
    ours, theirs = multiprocessing.Pipe()
    # A fresh interpreter, and a target whose module leaves torch alone.
    producers = dataclasses.replace(config, wire=config.wire.at_home(ANY_PORT))
    producer = multiprocessing.get_context("spawn").Process(
        target=replay_for, args=(producers, output, theirs), name="producer"
    )
    with StopFlag() as stop:
        producer.start()
        theirs.close()
        address = _address(ours, producer)
        if address is None:
            producer.join()
            return producer.exitcode or FAILED
        try:
            wire = config.wire.at_home(address)
            report = consume(
                dataclasses.replace(config, wire=wire),
                output,
                start=start,
                stop=_Stop(stop, producer),
            )
        except BaseException:
            producer.terminate()  # nobody else will come for its events
            raise
        finally:
            _part(producer)
    if not report.is_complete and producer.exitcode:
        return producer.exitcode
    return conclude(report, output)


class _Stop:
    """Asks the producer to end the run, so that the consumer sees its end; gives up after that."""

    def __init__(self, flag: StopFlag, producer: BaseProcess) -> None:
        self._flag = flag
        self._producer = producer
        self._was_asked = False

    def __call__(self) -> bool:
        if self._flag.requested and not self._was_asked:
            self._was_asked = True
            self._producer.terminate()
        return self._flag.aborted or bool(self._producer.exitcode)


def _address(ours: Connection, producer: BaseProcess) -> str | None:
    """Waits for the producer to listen; None if it ends instead, having said why."""
    while producer.is_alive():
        if ours.poll(0.05):
            try:
                return str(ours.recv_bytes(), "utf-8")
            except EOFError:
                return None
    return None


def _part(producer: BaseProcess) -> None:
    producer.join(GOODBYE_S)
    if producer.is_alive():
        producer.kill()
        producer.join()
