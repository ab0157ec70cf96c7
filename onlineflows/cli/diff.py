"""`onlineflows diff`: what changed between two snapshots, and how far apart their densities are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output, require_figure
from onlineflows.cli.progress import progress
from onlineflows.errors import ConfigError
from onlineflows.offline.changes import Change, Changes
from onlineflows.offline.comparison import MapShift, SnapshotComparison, compare_snapshots
from onlineflows.offline.comparison_figure import comparison_figure
from onlineflows.offline.divergence import DensityComparison
from onlineflows.offline.style import save_page
from onlineflows.online.snapshot import Snapshot, find_snapshot, read_snapshot, snapshot_nbytes

WIDTH = 100
OUTSIDE = "no density under the other"
LONGEST = 30
"""Characters of a value that are printed; --json has all."""


class _Plain(Table):
    """A table whose cells are words, not markup: names of features and files may have brackets."""

    def add_words(self, *words: str) -> None:
        """Adds a row."""
        self.add_row(*map(Text, words))


def diff(
    a: Path,
    b: Path,
    output: Output,
    *,
    figure: Path | None,
    model: str | None,
    n_samples: int,
    seed: int,
) -> int:
    """Prints how two snapshots differ and draws it; returns the exit code."""
    if figure is not None:
        require_figure(figure)
    paths = find_snapshot(a), find_snapshot(b)
    snapshots = [read_snapshot(path) for path in paths]
    with progress("comparing", quiet=output.quiet):
        compared = compare_snapshots(*snapshots, n=n_samples, seed=seed, model=model)
        if figure is not None:
            _draw(compared, figure, _names(paths, snapshots))
    document = {
        "a": {"snapshot": paths[0], "snapshot_nbytes": snapshot_nbytes(paths[0])},
        "b": {"snapshot": paths[1], "snapshot_nbytes": snapshot_nbytes(paths[1])},
        **compared.document(),
        "figure": figure,
    }
    output.result(document, _text(compared, paths, figure))
    return DONE


def _draw(compared: SnapshotComparison, figure: Path, names: tuple[str, str]) -> None:
    if compared.density is None:
        raise ConfigError(f"--figure: expected densities that can be compared; {compared.why_not}")
    save_page(comparison_figure(compared.density, names), figure)


def _names(paths: Sequence[Path], snapshots: Sequence[Snapshot]) -> tuple[str, str]:
    """Legends of two snapshots: their numbers, and their runs' names where those differ."""
    runs = [snapshot.manifest.run_name for snapshot in snapshots]
    numbers = [path.name for path in paths]
    a, b = numbers if runs[0] == runs[1] else map("/".join, zip(runs, numbers, strict=True))
    return f"A: {a}", f"B: {b}"


def _text(compared: SnapshotComparison, paths: tuple[Path, Path], figure: Path | None) -> str:
    parts: list[Any] = [Text(f"A  {paths[0]}\nB  {paths[1]}")]
    parts += _changes(compared.changes)
    if compared.density is None:
        parts.append(Text(f"\ndensities: not comparable: {compared.why_not}"))
    else:
        parts.append(_density(compared.density, compared.preprocessing))
        parts.append(_regions(compared.density))
        parts.append(Text(_whole(compared.density)))
    if figure is not None:
        parts.append(Text(f"figure: {figure}"))
    console = Console(width=WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(Group(*parts), soft_wrap=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _changes(changes: Changes) -> list[Any]:
    sections = {name: found for name, found in changes.sections().items() if found}
    same = [name for name in changes.sections() if name not in sections]
    table = _table("what changed", "", "A", "B", numbers=False)
    for name, found in sections.items():
        for change in found:
            table.add_words(f"{name}: {change.key}", *_values(change))
    parts: list[Any] = [table] if sections else []
    return [*parts, Text(f"\nthe same: {', '.join(same)}")] if same else parts


def _values(change: Change) -> tuple[str, str]:
    return _shown(change.a), _shown(change.b)


def _shown(value: Any) -> str:
    """A value in a few characters."""
    if value is None:
        return "–"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return written if len(written) <= LONGEST else f"{written[: LONGEST - 1]}…"


def _density(compared: DensityComparison, moved: tuple[MapShift, ...]) -> _Plain:
    table = _table(
        f"marginals of model {compared.model}, B less A",
        "",
        "mean [σ]",
        "width [%]",
        "KS",
        "W1 [σ]",
        "W1",
        "map [z]",
    )
    for feature, shift in zip(compared.features, moved, strict=True):
        table.add_words(
            feature.name,
            f"{feature.mean:+.4f} ± {feature.mean_error:.4f}",
            f"{100 * feature.width:+.2f} ± {100 * feature.width_error:.2f}",
            f"{feature.ks:.4f}",
            f"{feature.wasserstein_sigma:.4f}",
            f"{feature.wasserstein:.3g} {feature.unit}".strip(),
            f"{shift.largest:.3f}",
        )
    return table


def _regions(compared: DensityComparison) -> _Plain:
    m = compared.schema.resonant
    columns = ["", "in A [%]", "in B [%]", "B / A", "Jeffreys of p(x | m) [nats]"]
    has_outside = any(region.n_outside for region in compared.regions)
    table = _table(f"regions of {m.label}", *columns, *[OUTSIDE] * has_outside)
    for region in compared.regions:
        table.add_words(
            f"{region.low:.4g} – {region.high:.4g}",
            f"{100 * region.fraction_a:.2f}",
            f"{100 * region.fraction_b:.2f}",
            _with_error(region.ratio, region.ratio_error, 3),
            _with_error(region.jeffreys, region.jeffreys_error, 4),
            *[f"{region.n_outside:,}"] * has_outside,
        )
    return table


def _whole(compared: DensityComparison) -> str:
    shift = compared.largest_shift
    moved = f"{shift.wasserstein:.3g} {shift.unit}".rstrip()
    parts = (("A||B", compared.a_to_b), ("B||A", compared.b_to_a))
    divergences = [f"KL({name}) = {kl.nats:.4f} ± {kl.error:.4f}" for name, kl in parts]
    n_outside = sum(kl.n_outside for _, kl in parts)
    outside = f"; {n_outside:,} have {OUTSIDE}" if n_outside else ""
    jeffreys = f"{compared.jeffreys:.4f} ± {compared.jeffreys_error:.4f}"
    null = f"two draws of A: {shift.wasserstein_null:.3g}"
    lines = [
        "",
        f"largest shift: {shift.name}, W1 = {shift.wasserstein_sigma:.4f} σ ({moved}; {null})",
        f"Jeffreys divergence: {jeffreys} nats per event",
        f"  {', '.join(divergences)}",
        f"  from {len(compared.x_a):,} samples of each, seed {compared.seed}{outside}",
    ]
    return "\n".join(lines)


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    return "–" if value is None or error is None else f"{value:.{digits}f} ± {error:.{digits}f}"


def _table(title: str, *columns: str, numbers: bool = True) -> _Plain:
    table = _Plain(
        title=Text(f"\n{title}", style="bold"), title_justify="left", box=None, pad_edge=False
    )
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if numbers and place else "left")
    return table
