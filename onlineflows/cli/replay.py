"""`onlineflows replay`: the producer daemon. Never loads torch."""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from onlineflows.cli.config import Config, public_config
from onlineflows.cli.console import console
from onlineflows.cli.exits import DONE, FAILED, exit_code
from onlineflows.cli.health import HealthFile
from onlineflows.cli.logs import configure_logging
from onlineflows.cli.output import Output
from onlineflows.cli.signals import StopFlag
from onlineflows.cli.systemd import Notifier
from onlineflows.cli.terminal import watching
from onlineflows.cli.vitals import Vitals
from onlineflows.errors import OnlineFlowsError
from onlineflows.online.durable import write_file
from onlineflows.online.rundir import RunDirectory
from replay.producer import run_producer
from replay.report import ProducerReport, Progress
from replay.settings import StandinConfig
from replay.sources import open_source
from streams.errors import LedgerError, StreamError
from streams.protocol import counts_to_dict

logger = logging.getLogger(__name__)


def replay(config: Config, output: Output) -> int:
    """Serves one run to one consumer; returns the exit code."""
    with (
        StopFlag() as stop,
        _vitals(config, Notifier(), makes_folder=True) as vitals,
        watching("replayed", config.run.path, _n_events(config), quiet=output.quiet) as track,
    ):

        def watch(p: Progress) -> None:
            track(p.next_event, total=p.n_events)
            _show(vitals, p)

        report = produce(
            config, stop=stop, on_listening=lambda _: vitals.beat("waiting", {}), on_progress=watch
        )
        vitals.end(report.condition, report.text if report.error else "")
    output.result(report.document(), _text(report))
    _require_whole(report)
    if report.condition == "INTERRUPTED" and not report.ledger.totals.generated:
        return DONE  # stopped before a consumer came
    return DONE if report.is_acknowledged else FAILED


def replay_for(config: Config, output: Output, listener: Connection) -> None:
    """Runs the producer as a process of its own, whose exit code tells how it went.

    Args:
        config: the run.
        output: how the command that started the process speaks.
        listener: is told the address once it is bound, and at the end, where the run came to one,
            what became of the events.
    """
    configure_logging(as_json=output.log_json, quiet=True)
    parent = os.getppid()
    try:
        silent = Notifier(environment={})  # the learner's process speaks for both
        with StopFlag() as stop, _vitals(config, silent, makes_folder=False) as vitals:

            def watch(p: Progress) -> None:
                _show(vitals, p)
                if os.getppid() != parent:
                    stop.requested = True  # whoever the events were for was killed

            report = produce(
                config,
                stop=stop,
                on_listening=lambda address: listener.send_bytes(address.encode()),
                on_progress=watch,
            )
            vitals.end(report.condition, report.text if report.error else "")
        _tell(listener, report)
        _require_whole(report)
    except (OnlineFlowsError, StreamError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    sys.exit(DONE if report.is_acknowledged else FAILED)


def _require_whole(report: ProducerReport) -> None:
    """Raises what the source failed with, or LedgerError where the accounts don't add up."""
    if report.error is not None:
        raise report.error
    if report.problems:
        raise LedgerError("the ledgers do not balance: " + "; ".join(report.problems))


def _tell(listener: Connection, report: ProducerReport) -> None:
    """Says briefly how a run went: it may be that nobody takes it out of the pipe any more."""
    account = {"condition": report.condition, **counts_to_dict(report.ledger.totals)}
    with suppress(OSError):
        listener.send_bytes(json.dumps(account).encode())


def _vitals(config: Config, notifier: Notifier, *, makes_folder: bool) -> Vitals:
    health = None
    if config.operation.health:
        health = HealthFile(config.run.path, "replay", makes_folder=makes_folder)
    return Vitals(health, config.operation, notifier=notifier)


def _show(vitals: Vitals, p: Progress) -> None:
    state = "stalled" if p.is_stalled else "running" if p.is_connected else "waiting"
    counters = {
        "next_event": p.next_event,
        "n_events": p.n_events,
        "n_sent": p.counts.sent,
        "n_trained": p.n_trained,
        "n_learner_stalls": p.n_stalls,
    }
    vitals.beat(state, counters, f"{state}: {p.counts.sent:,} events sent, {p.n_trained:,} trained")


def produce(
    config: Config,
    *,
    stop: StopFlag,
    on_listening: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ProducerReport:
    """Opens the configured source and runs the producer on it.

    Raises:
        StreamError: the input, the address or the consumer is at fault.
    """
    if config.pacing.unheeded:
        logger.warning(
            'pacing.arrivals = "%s" does not heed %s; "constant" and "poisson" have a rate',
            config.pacing.arrivals,
            ", ".join(f"pacing.{name}" for name in config.pacing.unheeded),
        )
    source = open_source(config.source)
    try:
        with console(config.run.path, "replay", config.operation) as operated:
            report = run_producer(
                source,
                wire=config.wire,
                pacing=config.pacing,
                replay=config.replay,
                prescales=config.prescales,
                quarantine=config.quarantine,
                seed=_seed(config),
                config=public_document(config),
                stop=stop,
                stall_s=config.operation.stall_s,
                console=operated,
                on_listening=on_listening,
                on_progress=on_progress,
            )
    except StreamError:
        if stop.aborted:
            logger.warning("aborted")
        raise
    finally:
        source.close()
    if config.prescales:
        _keep(report.prescales, RunDirectory(config.run.path).prescales)
    return report


def _keep(prescales: Mapping[str, Any], path: Path) -> None:
    """Leaves what passed and what was kept of each selection; a disk that refuses costs no run."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(prescales, indent=1).encode())
    except OSError as error:
        logger.warning("the counts of the prescales can't be kept at %s: %s", path, error)


def public_document(config: Config) -> dict[str, Any]:
    """Returns what a stream's begin of run and every snapshot say of the source.

    Files are named without their folders: a snapshot may be shared.
    """
    return {"source": public_config(config)["source"], "batch_events": config.wire.batch_events}


def _seed(config: Config) -> int:
    if isinstance(config.source, StandinConfig):
        return config.source.seed
    return config.source.selection.seed


def _n_events(config: Config) -> int | None:
    return (config.source.n_events or None) if isinstance(config.source, StandinConfig) else None


def _text(report: ProducerReport) -> str:
    document = report.document()
    counted = ("sent", "not_selected", "prescaled", "busy", "bad")
    counts = ", ".join(f"{document[name]:,} {name.replace('_', ' ')}" for name in counted)
    rate_hz = document["generated"] / max(report.elapsed_s, 1e-9)
    lines = [
        f"run {report.condition}: {document['generated']:,} events generated: {counts}",
        f"in {report.elapsed_s:.1f} s ({rate_hz:,.0f} events/s), dead time {report.dead_s:.1f} s",
        *(
            f"prescale {s['name']}: {s['kept']:,} of {s['passed']:,} events kept (1 in {s['keep']})"
            for s in document["prescales"].get("selections", ())
        ),
    ]
    return "\n".join(lines)
