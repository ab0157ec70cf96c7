"""`onlineflows export`: a snapshot as other programs and people take it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onlineflows.cli.chosen import chosen_density
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output, require_folder
from onlineflows.cli.progress import progress
from onlineflows.cli.sample import draw_into, sample
from onlineflows.density import Density
from onlineflows.errors import ConfigError, DataError
from onlineflows.online.durable import write_file
from onlineflows.online.snapshot import Snapshot, find_snapshot, read_snapshot, snapshot_nbytes
from replay.sinks import SUFFIXES

ONNX = ".onnx"
CARD = ".md"
SAMPLER = ".sampler.onnx"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported.

    Args:
        n_events, seed: of samples.
        model, replica: which density, see `chosen_density`.
        as_onnx: ONNX, whatever the file is called.
        as_sk_cathode: a folder of samples that sk_cathode reads.
        signal_region: for that; None for the one in the snapshot's configuration.
    """

    n_events: int
    seed: int
    model: str | None
    replica: str
    as_onnx: bool = False
    as_sk_cathode: bool = False
    signal_region: tuple[float, float] | None = None


def export(path: Path, target: Path, output: Output, wanted: Wanted) -> int:
    """Writes a snapshot in the form that the target's ending asks for; returns the exit code."""
    if wanted.as_onnx and wanted.as_sk_cathode:
        raise ConfigError("expected --onnx or --sk-cathode; got both: choose one")
    if wanted.signal_region is not None and not wanted.as_sk_cathode:
        raise ConfigError("--signal-region: expected --sk-cathode, whose files it divides")
    if wanted.as_sk_cathode:
        return _sk_cathode(path, target, output, wanted)
    if wanted.as_onnx or target.suffix == ONNX:
        return _onnx(path, target, output, wanted)
    if target.suffix == CARD:
        if wanted.model is not None or wanted.replica != "0":
            raise ConfigError("--model, --replica: a model card is of all models: leave them out")
        return _card(path, target, output)
    if target.suffix in SUFFIXES:
        return sample(
            path,
            target,
            output,
            n_events=wanted.n_events,
            seed=wanted.seed,
            model=wanted.model,
            replica=wanted.replica,
        )
    raise ConfigError(
        f"expected a file name that ends in {ONNX}, {CARD} or, for samples, "
        f"{', '.join(SUFFIXES)}, or a folder with --sk-cathode; got {str(target)!r}"
    )


def _onnx(path: Path, target: Path, output: Output, wanted: Wanted) -> int:
    """Writes log p and, for a density of one θ, sampling."""
    require_folder(target, "FILE")
    path = find_snapshot(path)
    snapshot = read_snapshot(path)
    density = chosen_density(snapshot, wanted.model, wanted.replica)
    from onlineflows.export.onnx_file import log_prob_model, sample_model

    about = _about(snapshot, wanted)
    files: dict[Path, dict[str, Any]] = {}
    with progress("tracing log p", quiet=output.quiet):
        model = log_prob_model(density, about)
        _write(target, model.content)
        files[target] = _checked(model, "log p", "nats")
    sampler = target.with_name(target.name.removesuffix(ONNX) + SAMPLER)
    if isinstance(density, Density):
        with progress("tracing samples", quiet=output.quiet):
            model = sample_model(density, about)
            _write(sampler, model.content)
            files[sampler] = _checked(model, "samples", "widths")
        note = None
    else:
        note = "no sampler: a mean of densities is sampled by drawing from each in turn (--replica)"
    lines = [
        f"{name}: {f['nbytes']:,} bytes; {f['what']} within {f['difference']:.1e} {f['unit']} of "
        f"the snapshot's on {f['n_checked']:,} events"
        for name, f in files.items()
    ]
    document = {"files": [{"file": name, **f} for name, f in files.items()], "note": note}
    output.result(document, "\n".join([*lines, *([note] if note else [])]))
    return DONE


def _checked(model: Any, what: str, unit: str) -> dict[str, Any]:
    return {
        "nbytes": len(model.content),
        "what": what,
        "difference": model.difference,
        "unit": unit,
        "n_checked": model.n_checked,
    }


def _about(snapshot: Snapshot, wanted: Wanted) -> Mapping[str, Any]:
    manifest = snapshot.manifest
    return {
        "run_name": manifest.run_name,
        "run": manifest.run,
        "created_utc": manifest.created_utc,
        "code_version": manifest.code_version,
        "model": snapshot.entry(wanted.model).name,
        "replica": wanted.replica,
        "sha256": manifest.sha256,
    }


def _card(path: Path, target: Path, output: Output) -> int:
    """Writes the model card."""
    require_folder(target, "FILE")
    path = find_snapshot(path)
    from onlineflows.export.card import model_card

    content = model_card(read_snapshot(path), nbytes=snapshot_nbytes(path)).encode()
    _write(target, content)
    output.result({"file": target, "nbytes": len(content)}, f"{target}: {len(content):,} bytes")
    return DONE


def _sk_cathode(path: Path, target: Path, output: Output, wanted: Wanted) -> int:
    """Draws samples into the files that sk_cathode reads."""
    snapshot = read_snapshot(path)
    density = chosen_density(snapshot, wanted.model, wanted.replica)
    region = wanted.signal_region or snapshot.manifest.config.get("validate", {}).get(
        "signal_region"
    )
    if region is None:
        raise ConfigError(
            "--signal-region: expected LOW HIGH; the snapshot's configuration has none"
        )
    from replay.sinks.sk_cathode import SkCathodeFolder

    low, high = (float(end) for end in region)
    with SkCathodeFolder(
        target, density.schema, signal_region=(low, high), n_events=wanted.n_events
    ) as folder:
        drawn = draw_into(folder, density, wanted.n_events, wanted.seed, output)
    document = {"folder": target, "signal_region": [low, high], "files": folder.n_written}
    lines = [f"{target / name}: {n:,} events" for name, n in folder.n_written.items()]
    lines.append(f"signal region {low:g} to {high:g} {density.schema.resonant.unit}; {drawn.text}")
    output.result(document | asdict(drawn), "\n".join(lines))
    return DONE


def _write(target: Path, content: bytes) -> None:
    try:
        write_file(target, content)
    except OSError as error:
        raise DataError(f"{target}: expected a file to write to; got {error}") from error
