"""`onlineflows run`: both daemons on this machine, in two processes."""

import dataclasses

from onlineflows.cli.config import Config
from onlineflows.cli.exits import DONE, FAILED, code_of_child
from onlineflows.cli.output import Output
from onlineflows.cli.producer_process import ANY_PORT, ProducerProcess
from onlineflows.cli.signals import StopFlag
from onlineflows.cli.train import conclude, consume, nothing_left
from onlineflows.online.rundir import RunDirectory, Start


def run(config: Config, output: Output, *, start: Start) -> int:
    """Starts the producer, learns from it until its run ends; returns the exit code."""
    directory = RunDirectory(config.directory)
    if start == "continue" and directory.has_ended:
        return nothing_left(config, output)
    start = directory.resolve(start)
    directory.check(start)
    producers = dataclasses.replace(config, wire=config.wire.at_home(ANY_PORT))
    with StopFlag() as stop, ProducerProcess(producers, output) as producer:
        address = producer.wait_for_address()
        if address is None:
            return code_of_child(producer.exitcode or FAILED)
        wire = config.wire.at_home(address)
        report = consume(
            dataclasses.replace(config, wire=wire),
            output,
            start=start,
            stop=_Stop(stop, producer),
        )
    if not report.is_complete and producer.exitcode:
        return code_of_child(producer.exitcode)
    # What the producer found wrong with its own accounts it has said itself.
    return conclude(report, output) or code_of_child(producer.exitcode or DONE)


class _Stop:
    """Asks the producer to end the run, so that the consumer sees its end; gives up after that."""

    def __init__(self, flag: StopFlag, producer: ProducerProcess) -> None:
        self._flag = flag
        self._producer = producer
        self._was_asked = False

    def __call__(self) -> bool:
        if self._flag.requested and not self._was_asked:
            self._was_asked = True
            self._producer.stop()
        return self._flag.aborted or bool(self._producer.exitcode)
