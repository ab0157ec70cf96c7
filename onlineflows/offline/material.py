"""What a validation works on, as arrays and densities; can be handed to another process."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.offline.inputs import MethodInputs
from onlineflows.offline.regions import Regions
from onlineflows.offline.scores import Evaluation
from streams.schema import EventSchema

Events = NDArray[np.floating[Any]]

_REQUIRED = ("data", "samples", "fresh")
_OPTIONAL = ("x", "label", "optimum", "truth")


@dataclass(frozen=True, eq=False)
class Material:
    """What a snapshot is judged by.

    Args:
        schema: of the events.
        data: the events that the snapshot was trained on, shape (n, d), the resonant feature first.
        samples: events drawn from the snapshot, for training, shape (n_samples, d).
        fresh: as many others, that nothing is trained on.
        evaluation: truth-labelled events that neither was trained on; None where there are none,
            as on collision data.
        snapshot_nbytes: size of the snapshot.
        identity: hash of the snapshot.
        covers_everything: whether the samples are of the whole spectrum, not of a window.
        n_learned: events that the samples' density was learned from, where it was a share of the
            data; None where it was all of them.
        truth: 1 for signal among the data where it is known, shape (n,).
        densities: of the snapshot, by role; see `MethodInputs`.
    """

    schema: EventSchema
    data: Events
    samples: Events
    fresh: Events
    evaluation: Evaluation | None
    snapshot_nbytes: int
    identity: str = ""
    covers_everything: bool = True
    n_learned: int | None = None
    truth: NDArray[np.integer[Any]] | None = None
    densities: Mapping[str, AnyDensity] = field(default_factory=dict)

    @property
    def n_byte_equal(self) -> int:
        """Events of d float32 that fit into the snapshot's size, at most all of them."""
        return min(self.snapshot_nbytes // (4 * int(self.data.shape[1])), len(self.data))

    @property
    def data_of_samples(self) -> Events:
        """The data that the samples are to be compared with: of the same window."""
        if self.covers_everything:
            return self.data
        low, high = self.samples[:, 0].min(), self.samples[:, 0].max()
        inside: Events = self.data[(self.data[:, 0] >= low) & (self.data[:, 0] <= high)]
        return inside

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the snapshot, the data and the evaluation events."""
        found = hashlib.sha256(self.identity.encode())
        tested = self.evaluation
        for x in (self.data,) if tested is None else (self.data, tested.x, tested.label):
            found.update(np.ascontiguousarray(x).tobytes())
        return found.hexdigest()

    def tested(self, regions: Regions) -> Evaluation:
        """Returns the truth-labelled events of the signal region.

        Raises:
            DataError: there are none.
        """
        if self.evaluation is None:
            raise DataError("expected truth-labelled events to test on; got none")
        return self.evaluation.within(regions)

    def inputs(self, on: str) -> MethodInputs:
        """Returns what a method searches with: "data" or "snapshot"."""
        if on == "data":
            return MethodInputs({"data": self.data})
        return MethodInputs({"data": self.samples}, self.densities)

    def save(self, folder: Path) -> None:
        """Writes the arrays, uncompressed; densities are read from the snapshot again."""
        arrays: dict[str, NDArray[Any] | None] = {
            "data": self.data,
            "samples": self.samples,
            "fresh": self.fresh,
            "truth": self.truth,
        }
        if self.evaluation is not None:
            arrays["x"], arrays["label"] = self.evaluation.x, self.evaluation.label
            arrays["optimum"] = self.evaluation.optimum
        for name, array in arrays.items():
            if array is not None:
                np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path, schema: EventSchema, **others: Any) -> Self:
        """Returns what `save` wrote, its arrays mapped into memory.

        Args:
            folder: where it is.
            schema: of the events.
            others: the other fields.

        Raises:
            DataError: an array is missing.
        """
        found: dict[str, Any] = {}
        for name in (*_REQUIRED, *_OPTIONAL):
            path = folder / f"{name}.npy"
            if path.exists():
                found[name] = np.load(path, mmap_mode="r")
            elif name in _REQUIRED:
                raise DataError(f"{path}: expected an array of the validation; got nothing")
        evaluation = None
        if "x" in found:
            evaluation = Evaluation(found["x"], found["label"], found.get("optimum"))
        names = ("data", "samples", "fresh", "truth")
        arrays = {name: found[name] for name in names if name in found}
        return cls(schema=schema, evaluation=evaluation, **arrays, **others)
