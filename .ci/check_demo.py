"""Checks what `make demo` left: ``python .ci/check_demo.py runs/demo``."""

import json
import math
import sys
from pathlib import Path

MAX_SNAPSHOT_NBYTES = 1_000_000


def check_ledger(ledger: dict) -> None:
    """Fails unless every event is accounted for and trained on."""
    for key in ("generated", "sent", "trained", "skipped", "busy", "lost", "unaccounted"):
        assert key in ledger, f"ledger.json: expected the key {key!r}; got {sorted(ledger)}"
    skipped = sum(ledger["skipped"].values())
    assert ledger["generated"] == ledger["sent"] == ledger["trained"] + skipped, ledger
    assert ledger["busy"] == ledger["lost"] == ledger["unaccounted"] == 0, ledger


def check_snapshot(snapshot: Path) -> None:
    """Fails unless the snapshot, with everything that belongs to it, is under a megabyte."""
    files = [p for p in snapshot.resolve().rglob("*") if p.is_file()] or [snapshot.resolve()]
    nbytes = sum(p.stat().st_size for p in files)
    assert 0 < nbytes < MAX_SNAPSHOT_NBYTES, f"{snapshot}: {nbytes} bytes in {files}"


def check_report(report: dict) -> None:
    """Fails unless the report has the numbers that scripts read, and they are sane."""
    for curve in ("data", "snapshot", "byte_equal", "optimum"):
        for key in ("auc", "max_sic"):
            value = report["cwola"][curve][key]
            assert math.isfinite(value), f"report.json: cwola.{curve}.{key} is {value}"
    assert 0 < report["snapshot_nbytes"] < MAX_SNAPSHOT_NBYTES
    assert report["events_seen"] > 0
    assert report["event_nbytes"] > 0
    assert abs(report["nats_to_truth"]) < 0.05, f"nats_to_truth is {report['nats_to_truth']}"


def main(run: Path) -> None:
    """Checks one run directory."""
    check_ledger(json.loads((run / "ledger.json").read_text()))
    check_snapshot(run / "snapshots" / "latest")
    report = json.loads((run / "report" / "report.json").read_text())
    check_report(report)
    print(json.dumps({k: report[k] for k in ("nats_to_truth", "snapshot_nbytes", "events_seen")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
