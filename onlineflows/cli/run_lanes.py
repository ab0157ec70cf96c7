"""`onlineflows run` with several lanes: the producer and a learner of each lane, side by side."""

import dataclasses
import time
from collections.abc import Sequence
from contextlib import ExitStack

from onlineflows.cli.config import Config
from onlineflows.cli.exits import DONE, FAILED, code_of_child
from onlineflows.cli.lane_learner import LaneLearner
from onlineflows.cli.lane_summary import document_of, problems_of, table_of
from onlineflows.cli.output import Output
from onlineflows.cli.producer_process import ANY_PORT, ProducerProcess
from onlineflows.cli.progress import Track
from onlineflows.cli.signals import StopFlag
from onlineflows.cli.systemd import Notifier
from onlineflows.cli.terminal import watching
from onlineflows.cli.vitals import Vitals
from onlineflows.errors import ConfigError
from onlineflows.online.rundir import RunDirectory, Start
from streams.errors import LedgerError

TURN_S = 0.1

GRACE_S = 5.0
"""How long learners may take to end by themselves once their producer or another has failed."""


def run_lanes(
    config: Config, words: Sequence[str], output: Output, *, start: Start, restarts: int
) -> int:
    """Starts the producer and a learner of each lane, and waits for all of them.

    One learner that fails stops the others, which leave checkpoints: a lossless run can then go on
    with all of them.

    Args:
        config: the run.
        words: what made it so on the command line, for the learners: file and overrides.
        output: how the command speaks.
        start: what becomes of an earlier run; the same for all lanes.
        restarts: how often each learner is started again if it dies.

    Returns:
        The worst of all exit codes; the producer's doesn't count where all learners came to the end
        of the run and the accounts agree.

    Raises:
        ConfigError: an earlier run is in the way, or can't be continued.
        LedgerError: events are unaccounted for, in a lane or between lanes and producer.
    """
    directories = [RunDirectory(_of_lane(config, k).directory) for k in range(config.wire.lanes)]
    if start == "continue" and _is_over(directories):
        text = f"{config.run.path}: the run has ended; --overwrite deletes it and begins anew"
        output.result({"is_complete": True}, text)
        return DONE
    for directory in directories:
        directory.check(directory.resolve(start))
    producers = dataclasses.replace(config, wire=config.wire.at_home(ANY_PORT))
    with StopFlag() as stop, ProducerProcess(producers, output) as producer:
        address = producer.wait_for_address()
        if address is None:
            return code_of_child(producer.exitcode or FAILED)
        words = [*words, "--set", "wire.security={}", "--set", f"wire.address={address}"]
        with ExitStack() as crew:
            learners = [
                crew.enter_context(
                    LaneLearner(k, words, directory, output, start=start, restarts=restarts)
                )
                for k, directory in enumerate(directories)
            ]
            _watch(config, output, producer, learners, stop)
            results = [learner.result for learner in learners]
        if not all(result.is_complete for result in results):
            producer.stop()
        producer.leave()
        account = producer.account()
    output.result(document_of(results), table_of(results))
    codes = [result.code for result in results]
    if not all(result.is_complete for result in results):
        codes.append(producer.exitcode or DONE)
    elif found := problems_of(results, account):
        raise LedgerError("the ledgers do not balance: " + "; ".join(found))
    return max(map(code_of_child, codes))


def _of_lane(config: Config, lane: int) -> Config:
    return dataclasses.replace(config, wire=dataclasses.replace(config.wire, lane=lane))


def _is_over(directories: Sequence[RunDirectory]) -> bool:
    """Whether the run of all lanes has ended.

    Raises:
        ConfigError: that of some has, and the stream can't be shared with them any more.
    """
    ended = [directory.path.name for directory in directories if directory.has_ended]
    if ended and len(ended) < len(directories):
        raise ConfigError(
            f"{directories[0].path.parent}: expected learners that have all ended, or none; got "
            f"an end for {', '.join(ended)} only: --overwrite begins anew"
        )
    return bool(ended)


def _watch(
    config: Config,
    output: Output,
    producer: ProducerProcess,
    learners: Sequence[LaneLearner],
    stop: StopFlag,
) -> None:
    """Waits for all learners; ends the run when that is asked for, or when a part of it fails."""
    was_asked = False
    failed_s: float | None = None
    with (
        Vitals(None, config.operation, notifier=Notifier()) as vitals,
        watching(
            "trained", config.run.path, quiet=output.quiet or not learners[0].is_silent
        ) as track,
    ):
        while any(learner.is_running for learner in learners):
            n_trained = _show(learners, track)
            vitals.beat("running", {}, f"{len(learners)} learners trained on {n_trained:,} events")
            if stop.requested and not was_asked:
                was_asked = True
                producer.stop()  # the learners then see the end of the run
            now = time.monotonic()
            if producer.exitcode or any(learner.has_failed for learner in learners):
                failed_s = failed_s or now
            if stop.aborted or (failed_s and now - failed_s > GRACE_S):
                for learner in learners:
                    learner.stop()
            time.sleep(TURN_S)


def _show(learners: Sequence[LaneLearner], track: Track) -> int:
    progresses = [learner.progress() for learner in learners]
    n_trained = sum(trained for trained, _ in progresses)
    track(n_trained, total=max(total for _, total in progresses) or None)
    return n_trained
