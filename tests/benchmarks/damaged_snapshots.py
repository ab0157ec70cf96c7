"""Damages snapshots in many ways and reads them: none may load silently wrong.

    python tests/benchmarks/damaged_snapshots.py [--cases 10000] [--seed 1]

Prints JSON; the exit code is 1 if any case was silently wrong. What that means:

- *Accidents* (flipped bits, cut, longer, zeroed, swapped or missing files, manifests edited as
  text): the snapshot is refused with SnapshotError, or everything in it (each θ, each marginal map,
  the whole manifest) is bit for bit what was written.
- *Forgeries*, made by somebody who recomputes hashes and seal: it is refused, or what is read is
  exactly what the forger wrote, complete, finite and of the right shapes, and gives densities;
  nothing but SnapshotError is ever raised. In each case the signature must not verify.
"""

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from onlineflows.errors import SnapshotError
from onlineflows.flows.spec import build_spec
from onlineflows.online.durable import sha256
from onlineflows.online.learned import MODEL_FILE, LearnedModel
from onlineflows.online.manifest import MANIFEST_FILE, Manifest, ModelEntry
from onlineflows.online.seal import sealed, unsealed
from onlineflows.online.signature import SIGNATURE_FILE, Signer, signing_pair, verify
from onlineflows.online.snapshot import Snapshot, read_snapshot, write_snapshot
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
FLOW = FlowConfig(blocks=1, hidden=6, bins=3)
KNOTS = 7
MANIFEST_NBYTES = 4096
MAX_GROWTH_NBYTES = 256 << 20
HUGE = 10**9
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**62, HUGE, 1e308, -0.5, "", "x" * 2000, "joint", [], {}, [[]],
    [None, None], {"features": []}, {"blocks": HUGE}, {"hidden": HUGE}, [0] * 2000,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One way to damage a snapshot.

    Attributes:
        damage: changes the folder of a snapshot; a second one lies beside it.
        is_forged: whether hashes and seal were made to fit.
    """

    damage: Callable[[random.Random, Path, Path], None]
    is_forged: bool = False


def make_snapshot(seed: int) -> Snapshot:
    """Returns a small snapshot of two models."""
    rng = np.random.default_rng(seed)
    entry = ModelEntry(
        name="joint", inside=None, outside=None, replicas=0, bootstrap=True, flow=FLOW,
        knots=KNOTS, is_fitted=True, n_taken=10, n_trained=10, n_uses=40, n_steps=1,
    )  # fmt: skip
    values = asdict(entry) | {"name": "window", "inside": (3.0, 7.0), "replicas": 1, "flow": FLOW}
    models = {}
    for one in (entry, ModelEntry(**values)):
        x = rng.uniform(0.35, 0.65, (500, 2)) * [10, 1]
        schema = one.region.schema_of(SCHEMA, model=one.name)
        shape = 1 + one.replicas, build_spec(FLOW, 2).n_parameters
        models[one.name] = LearnedModel(
            rng.normal(0, 0.1, shape).astype(np.float32),
            Preprocessing.fit(schema, x.astype(np.float32), knots=KNOTS).to_arrays(),
        )
    manifest = Manifest(
        run_name="damage", run=1, created_utc="2026-01-01T00:00:00Z", code_version="0",
        schema=SCHEMA.to_dict(), models=(entry, ModelEntry(**values)), n_seen=1000 + seed,
        n_trained=1000, n_uses=4000, n_steps=8, train_seconds=0.1, final=True, tainted=(),
        ledger={"sent": 1000, "skipped": {"nan": 1}}, drift={"n_alarms": 0, "alarms": []},
        history={"points": [[100, 1.25, 2], [200, 1.125, 2]]},
        stream={"seed": 1, "sources": [["a.h5", 10, "00"]]}, config={"flow": {"blocks": 1}},
    )  # fmt: skip
    return Snapshot(manifest, models)


# --- accidents ---------------------------------------------------------------------------------


def flip_bits(rng: random.Random, path: Path, _: Path) -> None:
    """Flips one to eight bits of a file."""
    file = path / rng.choice([MANIFEST_FILE, MODEL_FILE])
    content = bytearray(file.read_bytes())
    for position in rng.sample(range(8 * len(content)), rng.randint(1, 8)):
        content[position // 8] ^= 1 << position % 8
    file.write_bytes(content)


def cut(rng: random.Random, path: Path, _: Path) -> None:
    """Cuts a file off."""
    file = path / rng.choice([MANIFEST_FILE, MODEL_FILE])
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def lengthen(rng: random.Random, path: Path, _: Path) -> None:
    """Appends bytes, or puts some into the middle."""
    file = path / rng.choice([MANIFEST_FILE, MODEL_FILE])
    content = file.read_bytes()
    at = rng.choice([len(content), rng.randrange(len(content))])
    more = rng.choice([bytes, rng.randbytes, lambda n: b" " * n])(rng.randint(1, 200))
    file.write_bytes(content[:at] + more + content[at:])


def blank(rng: random.Random, path: Path, _: Path) -> None:
    """Zeroes a block, as a lost page would be."""
    file = path / rng.choice([MANIFEST_FILE, MODEL_FILE])
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content))
    block = content[at : at + rng.randint(1, 512)]
    content[at : at + len(block)] = bytes(len(block))
    file.write_bytes(content)


def exchange(rng: random.Random, path: Path, other: Path) -> None:
    """Takes one file of another snapshot, or swaps the two files or two stretches of one."""
    way = rng.randrange(3)
    if way == 0:
        name = rng.choice([MANIFEST_FILE, MODEL_FILE])
        shutil.copy(other / name, path / name)
    elif way == 1:
        (path / MANIFEST_FILE).rename(path / "x")
        (path / MODEL_FILE).rename(path / MANIFEST_FILE)
        (path / "x").rename(path / MODEL_FILE)
    else:
        content = bytearray((path / MODEL_FILE).read_bytes())
        a, b = rng.randrange(len(content) - 4), rng.randrange(len(content) - 4)
        content[a : a + 4], content[b : b + 4] = content[b : b + 4], content[a : a + 4]
        (path / MODEL_FILE).write_bytes(content)


def lose(rng: random.Random, path: Path, _: Path) -> None:
    """Deletes or empties a file, or puts a folder in its place."""
    file = path / rng.choice([MANIFEST_FILE, MODEL_FILE])
    file.unlink()
    rng.choice([lambda: None, file.touch, file.mkdir])()


def edit_text(rng: random.Random, path: Path, _: Path) -> None:
    """Edits the manifest as a person would, without a new seal."""
    file = path / MANIFEST_FILE
    document = json.loads(file.read_bytes())
    before = dict(document)
    for _ in range(100):
        mutate(rng, document)
        if document != before:
            break
    text = json.dumps(document, separators=rng.choice([(",", ":"), (", ", ": ")])).encode()
    file.write_bytes(text.ljust(MANIFEST_NBYTES - 1) + b"\n")


# --- forgeries ---------------------------------------------------------------------------------


def forge_manifest(rng: random.Random, path: Path, _: Path) -> None:
    """Edits the manifest and seals it again."""
    file = path / MANIFEST_FILE
    document = unsealed(file.read_bytes())
    for _ in range(rng.randint(1, 3)):
        mutate(rng, document)
    document = {str(key): value for key, value in document.items()} or {"run": 1}
    file.write_bytes(sealed(document))


def forge_model(rng: random.Random, path: Path, _: Path) -> None:
    """Writes other arrays, with hash and seal that fit."""
    arrays = safetensors.numpy.load((path / MODEL_FILE).read_bytes())
    name = rng.choice(sorted(arrays))
    array = arrays[name].copy()
    way = rng.randrange(6)
    if way == 0:
        array.flat[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1.0])
    elif way == 1:
        array = array.astype(rng.choice([np.float16, np.float64, np.float32, np.int32]))
    elif way == 2:
        array = array.reshape(rng.choice([(-1,), (1, -1), (*array.shape, 1), array.shape[::-1]]))
    elif way == 3:
        array = np.resize(array, rng.choice([(1, 1), (0,), (3, 1000)]))
    elif way == 4:
        arrays[rng.choice(["extra", "joint.theta ", "window"])] = array
    arrays[name] = array
    if way == 5:
        del arrays[name]
    write_forged(path, safetensors.numpy.save(arrays))


def forge_bytes(rng: random.Random, path: Path, _: Path) -> None:
    """Mutates the bytes of the model's file, its header above all, with a hash that fits."""
    content = bytearray((path / MODEL_FILE).read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(rng.choice([8, header, len(content)]))
        content[at] = rng.randrange(256)
    write_forged(path, bytes(content))


def write_forged(path: Path, model: bytes) -> None:
    """Writes a model's file and a manifest that vouches for it."""
    document = unsealed((path / MANIFEST_FILE).read_bytes())
    document["sha256"] = {MODEL_FILE: sha256(model)}
    (path / MODEL_FILE).write_bytes(model)
    (path / MANIFEST_FILE).write_bytes(sealed(document, MANIFEST_NBYTES))


def mutate(rng: random.Random, document: Any) -> None:
    """Changes something somewhere in a document of plain JSON types."""
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.15:
            break
        place = inner
    way = rng.random()
    if way < 0.15:
        del place[key]
    elif way < 0.25 and isinstance(place, dict):
        place[rng.choice(["extra", "format", "name", "sha256"])] = inner
    elif way < 0.35 and isinstance(place, list):
        place.append(inner)
    elif way < 0.5 and isinstance(inner, int | float):
        place[key] = inner + rng.choice([1, -1, HUGE])
    elif way < 0.55:
        deep: Any = inner
        for _ in range(rng.choice([10, 40, 300])):
            deep = [deep]
        place[key] = deep
    else:
        place[key] = rng.choice(ODD_VALUES)


CASES = {
    "flipped bits": Case(flip_bits),
    "cut": Case(cut),
    "longer": Case(lengthen),
    "zeroed block": Case(blank),
    "swapped": Case(exchange),
    "lost": Case(lose),
    "edited manifest": Case(edit_text),
    "forged manifest": Case(forge_manifest, is_forged=True),
    "forged model": Case(forge_model, is_forged=True),
    "forged bytes": Case(forge_bytes, is_forged=True),
}


# --- the judge ---------------------------------------------------------------------------------


def judge(path: Path, original: Snapshot, public: bytes, *, is_forged: bool) -> str:
    """Returns "refused", "identical" or "as forged"; otherwise what is wrong."""
    try:
        is_genuine = verify(path, public).is_genuine
    except SnapshotError:
        is_genuine = False
    try:
        read = read_snapshot(path)
        for name in read.model_names if is_forged else ():
            if read.entry(name).is_fitted:
                read.density(name)
    except SnapshotError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        return f"WRONG: {type(error).__name__}: {error}"[:200]
    if is_same(read, original):
        return "identical"
    if not is_forged:
        return "WRONG: loaded with another content"
    if is_genuine:
        return "WRONG: the signature verifies"
    document = unsealed((path / MANIFEST_FILE).read_bytes())
    if not is_as_written(json.loads(json.dumps(asdict(read.manifest))), document):
        return "WRONG: the manifest is not the one in the file"
    arrays = safetensors.numpy.load((path / MODEL_FILE).read_bytes())
    for name, model in read.models.items():
        if model.thetas.tobytes() != arrays[f"{name}.theta"].tobytes():
            return "WRONG: θ is not the one in the file"
        if not np.isfinite(model.thetas).all() or model.thetas.ndim != 2:
            return "WRONG: θ isn't finite"
    return "as forged"


def is_same(a: Snapshot, b: Snapshot) -> bool:
    """Returns whether two snapshots hold the same, bit for bit."""
    if a.manifest != b.manifest or list(a.models) != list(b.models):
        return False
    pairs = [(a.models[name], b.models[name]) for name in a.models]
    return all(
        same_bits(one.thetas, two.thetas)
        and all(same_bits(one.preprocessing[k], two.preprocessing[k]) for k in two.preprocessing)
        for one, two in pairs
    )


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Returns whether two arrays have the same type, shape and bits."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def is_as_written(read: Any, written: Any) -> bool:
    """Returns whether what was read says what is written, but for what has a default."""
    if isinstance(read, dict) and isinstance(written, dict):
        return all(key in read and is_as_written(read[key], written[key]) for key in written)
    if isinstance(read, list) and isinstance(written, list):
        return len(read) == len(written) and all(map(is_as_written, read, written))
    return bool(read == written) and isinstance(read, bool) == isinstance(written, bool)


def measure(cases: int, seed: int) -> dict[str, Any]:
    """Returns what became of all cases."""
    rng = random.Random(seed)
    secret, public = signing_pair()
    results: dict[str, Counter[str]] = {name: Counter() for name in CASES}
    slowest_s, began = 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        written = [
            write_snapshot(
                Path(folder), make_snapshot(n), manifest_nbytes=MANIFEST_NBYTES,
                signer=Signer(secret),
            )
            for n in (1, 2)
        ]  # fmt: skip
        original = read_snapshot(written[0])
        contents = {file.name: file.read_bytes() for file in written[0].iterdir()}
        if not verify(written[0], public).is_genuine or SIGNATURE_FILE not in contents:
            raise SystemExit("expected a genuine snapshot to begin with")
        before = peak_nbytes()
        path = Path(folder) / "damaged"
        for number in range(cases):
            name = list(CASES)[number % len(CASES)]
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            for file, content in contents.items():
                (path / file).write_bytes(content)
            CASES[name].damage(rng, path, written[1])
            start = time.perf_counter()
            verdict = judge(path, original, public, is_forged=CASES[name].is_forged)
            slowest_s = max(slowest_s, time.perf_counter() - start)
            results[name][verdict] += 1
    growth = peak_nbytes() - before
    n_wrong = sum(n for found in results.values() for v, n in found.items() if "WRONG" in v)
    return {
        "cases": cases,
        "seed": seed,
        "silently_wrong": n_wrong + (growth > MAX_GROWTH_NBYTES),
        "memory_growth_nbytes": growth,
        "slowest_s": round(slowest_s, 4),
        "seconds": round(time.perf_counter() - began, 1),
        "results": {name: dict(found) for name, found in results.items()},
    }


def peak_nbytes() -> int:
    """Returns the largest resident size of this process so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Runs the cases and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = measure(arguments.cases, arguments.seed)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    return 1 if result["silently_wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
