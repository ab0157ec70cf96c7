"""`onlineflows train`: the consumer daemon."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch

from onlineflows.cli.config import Config, public_config
from onlineflows.cli.console import console
from onlineflows.cli.exits import DONE, FAILED
from onlineflows.cli.health import HealthFile
from onlineflows.cli.logs import label_records
from onlineflows.cli.output import Output
from onlineflows.cli.signals import StopFlag
from onlineflows.cli.systemd import Notifier
from onlineflows.cli.terminal import watching
from onlineflows.cli.vitals import Vitals
from onlineflows.config import to_dict
from onlineflows.online.consumer import ConsumerConfig, ConsumerReport, Progress
from onlineflows.online.daemon import run_consumer
from onlineflows.online.rundir import RunDirectory, Start
from onlineflows.online.snapshot import snapshot_nbytes
from streams.errors import LedgerError
from streams.ledger import WITHHELD

logger = logging.getLogger(__name__)


def train(config: Config, output: Output, *, start: Start) -> int:
    """Learns from one producer; returns the exit code."""
    if start == "continue" and RunDirectory(config.directory).has_ended:
        return nothing_left(config, output)
    if config.wire.lanes > 1:
        label_records(lane=config.wire.lane)
    with StopFlag() as stop:
        report = consume(config, output, start=start, stop=stop)
        return conclude(report, output)  # a stop that comes now must not keep the last word back


def nothing_left(config: Config, output: Output) -> int:
    """Says that a run to be continued has ended; returns the exit code."""
    text = f"{config.directory}: the run has ended; --overwrite deletes it and begins anew"
    output.result({"is_complete": True}, text)
    return DONE


def consume(
    config: Config, output: Output, *, start: Start, stop: Callable[[], bool]
) -> ConsumerReport:
    """Runs the consumer with a progress bar and leaves the configuration beside its results."""
    torch.set_num_threads(config.trainer.threads)
    directory = RunDirectory(config.directory)
    start = directory.resolve(start)
    consumer = ConsumerConfig(
        name=config.run.name,
        wire=config.wire,
        learner=config.learner,
        snapshot=config.snapshot,
        checkpoint=config.checkpoint,
        document=public_config(config),
    )
    directory.prepare(start)
    if start != "resume":
        directory.write_config(json.dumps(to_dict(config), indent=1))
    health = HealthFile(directory.path, "train") if config.operation.health else None
    with (
        console(directory.path, "train", config.operation) as operated,
        Vitals(health, config.operation, notifier=Notifier()) as vitals,
        watching("trained", config.run.path, quiet=output.quiet) as track,
    ):

        def watch(p: Progress) -> None:
            track(p.n_trained, total=p.n_events)
            vitals.beat("running" if p.has_begun else "waiting", asdict(p), _status(p))

        report = run_consumer(
            consumer,
            directory,
            resume=start == "resume",
            stop=stop,
            watch=watch,
            console=operated,
            now=lambda: datetime.now(UTC),
        )
        vitals.end(report.condition)
    return report


def _status(p: Progress) -> str:
    of = f" of {p.n_events:,}" if p.n_events else ""
    failures = f", {p.n_write_failures} writes refused by the disk" if p.n_write_failures else ""
    return f"trained on {p.n_trained:,}{of} events{failures}"


def conclude(report: ConsumerReport, output: Output) -> int:
    """Prints how a run ended; returns the exit code.

    Raises:
        LedgerError: events are unaccounted for.
    """
    output.result(_document(report), _text(report))
    if report.is_complete and (report.problems or report.ledger["unaccounted"]):
        raise LedgerError(
            f"the ledgers do not balance: {report.ledger['unaccounted']} events unaccounted for; "
            + "; ".join(report.problems)
        )
    return FAILED if report.condition == "ABORTED" or _learned_nothing(report) else DONE


def _learned_nothing(report: ConsumerReport) -> bool:
    return report.condition == "TAINTED" and not report.ledger["trained"]


def _document(report: ConsumerReport) -> dict[str, Any]:
    snapshot = report.snapshot
    return {
        "condition": report.condition,
        "is_complete": report.is_complete,
        "ledger": report.ledger,
        "snapshot": snapshot,
        "snapshot_nbytes": snapshot_nbytes(snapshot) if snapshot else 0,
    }


def _text(report: ConsumerReport) -> str:
    ledger = report.ledger
    withheld = {name: ledger[name] for name in WITHHELD}
    counts = f"{ledger['generated']:,} events{_listed(withheld)}, {ledger['sent']:,} sent"
    learned = f"{ledger['trained']:,} trained{_listed(ledger['skipped'])}"
    rest = f"{ledger['lost']:,} lost, {ledger['unaccounted']:,} unaccounted"
    lines = [f"run {report.condition}: {counts}, {learned}, {rest}"]
    if ledger["text"]:
        lines.append(f"the producer says: {ledger['text']}")
    if report.snapshot is not None:
        lines.append(f"snapshot {report.snapshot} ({snapshot_nbytes(report.snapshot):,} bytes)")
    if _learned_nothing(report):
        lines.append(
            "nothing was learned, and there is no snapshot: see with `onlineflows look CONFIG` "
            "what the source's cut and expressions leave"
        )
    if not report.is_complete:
        lines.append("stopped before the end of the run; go on with --resume")
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    """Counts by reason that aren't zero, to be appended to a total."""
    return "".join(f", {n:,} {reason.replace('_', ' ')}" for reason, n in counts.items() if n)
