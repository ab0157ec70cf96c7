"""Tables of the studies of compression, amplification, likeness, absorption and coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

from onlineflows.bench import absorption, amplification, compression, coverage, likeness
from onlineflows.bench.table import Cells, Table, number

Row = Mapping[str, Any]

BOUNDS = {"": "", "at_least": "≥ ", "at_most": "≤ "}


def compression_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns f* of every snapshot, and the searches on stored events."""
    found = compression.summarise(rows)
    header: Cells = (
        *("signal", "model (numbers in θ)", "events seen", "f_store", "SIC", "signal kept", "Z"),
        *("f* by Z", "f* / f_store", "f* by SIC", "f* / f_store"),
    )
    lines = [
        (
            _percent(row["fraction"]),
            f"{row['model']} ({row['n_parameters']:,})",
            f"{row['n_seen']:,}",
            f"{row['f_store']:.3g}",
            _spread(row["snapshot_sic"], 2),
            _spread(row["signal_kept"], 2),
            _spread(row["snapshot_significance"], 1),
            *_equivalent(row["equivalent_significance"]),
            *_equivalent(row["equivalent_sic"]),
        )
        for row in found
    ]
    stored = [row for row in rows if row["part"] == "stored"]
    fractions = sorted({row["fraction"] for row in stored}, reverse=True)
    by_size: dict[int, dict[float, str]] = {}
    for row in found:
        for point in row["stored"]:
            text = _spread(point["sic"], 2)
            by_size.setdefault(point["n_events"], {})[row["fraction"]] = text
    stored_lines = [
        (f"{n:,}", *(texts.get(fraction, "–") for fraction in fractions))
        for n, texts in sorted(by_size.items())
    ]
    return [
        Table("What a snapshot is worth in stored events", header, tuple(lines)),
        Table(
            "SIC of CWoLa on stored events",
            ("stored events", *(f"signal {_percent(f)}" for f in fractions)),
            tuple(stored_lines),
        ),
    ]


def amplification_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns N_eq against the events seen, ours and of a trainer that forgets."""
    found = amplification.summarise(rows)
    cells = sorted({row["cells"] for row in found})
    by_run: dict[tuple[str, int], dict[str, str]] = {}
    for row in found:
        key = row["trainer"], row["n_seen"]
        by_run.setdefault(key, {})[row["cells"]] = _worth(row)
    lines = [
        (trainer, f"{n:,}", *(texts[name] for name in cells))
        for (trainer, n), texts in sorted(by_run.items(), key=lambda item: (item[0][0], item[0][1]))
    ]
    header = ("trainer", "events seen", *(f"N_eq, {name} cells" for name in cells))
    return [Table("Events of the truth that a model is worth", header, tuple(lines))]


def absorption_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns the learned share of signal against the injected one."""
    lines = [
        (
            row["buffer"],
            row["position"],
            _percent(row["fraction"]),
            _percent(row["data"], 3),
            f"{_percent(row['learned'], 3)} ± {_percent(row['learned_std'], 3)}",
            "–" if row["kept"] is None else f"{row['kept']:.3f} ± {row['kept_error'] or 0:.3f}",
        )
        for row in absorption.summarise(rows)
    ]
    header = ("buffer", "signal comes", "injected", "fitted in the data", "learned", "kept")
    return [Table("Signal in a snapshot", header, tuple(lines))]


def coverage_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns coverage, bias and spread of the replica band."""
    lines = [
        (
            row["quantity"],
            f"{row['level']:.0%}",
            f"{row['covered']:.1%} ± {row['error']:.1%}",
            f"{row['covered_mean']:.1%}",
            f"{row['bias']:+.4f}",
            f"{row['spread']:.4f}",
            f"{row['band']:.4f}",
        )
        for row in coverage.summarise(rows)
        if not row["quantity"].startswith("point ")
    ]
    header = (
        *("quantity", "nominal", "holds the truth", "holds the mean"),
        *("bias", "spread over streams", "replicas say"),
    )
    return [Table("Coverage of the replica band", header, tuple(lines))]


def likeness_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns the two-sample tests against the events seen."""
    lines = [
        (
            "true events" if row["n_seen"] == likeness.TRUTH else f"{row['n_seen']:,}",
            _plus_minus(row["classifier_auc"], 4),
            _plus_minus(row["classifier_auc_null"], 4),
            _plus_minus(row["sliced_wasserstein"], 5),
            _plus_minus(row["sliced_wasserstein_null"], 5),
            _plus_minus([1e3 * v for v in row["fpd"]], 3),
            _plus_minus([1e3 * v for v in row["kpd"]], 3),
            _plus_minus(row["ks"], 4),
            _plus_minus(row["correlation"], 4),
        )
        for row in likeness.summarise(rows)
    ]
    header = (
        *("events seen", "AUC", "its null", "sliced Wasserstein", "its null"),
        *("1000 FPD", "1000 KPD", "largest KS distance", "largest Δ correlation"),
    )
    return [Table("Samples against events that were not trained on", header, tuple(lines))]


def _equivalent(found: Mapping[str, Any]) -> Cells:
    bound = BOUNDS[found["bound"]]
    band = "" if bound else f" ({found['low']:.3g} to {found['high']:.3g})"
    return f"{bound}{found['f']:.3g}{band}", f"{bound}{found['gain']:.3g}"


def _worth(row: Row) -> str:
    if row["n_equivalent"] is None or row["n_equivalent_low"] is None:
        return "–"
    # Where the error reaches zero, the number has no upper end.
    if row["n_equivalent_high"] is None:
        return f"> {number(row['n_equivalent_low'])}"
    low, high = number(row["n_equivalent_low"]), number(row["n_equivalent_high"])
    return f"{number(row['n_equivalent'])} ({low} to {high})"


def _spread(draws: Mapping[str, float], digits: int) -> str:
    # Of one draw the spread isn't known.
    spread = f" ± {draws['std']:.{digits}f}" if draws["std"] else ""
    return f"{draws['median']:.{digits}f}{spread}"


def _plus_minus(value: Sequence[float], digits: int) -> str:
    return f"{value[0]:.{digits}f} ± {value[1]:.{digits}f}"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
