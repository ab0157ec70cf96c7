"""The parts of a validation: independent, kept as JSON, never computed twice."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import onlineflows
from onlineflows.offline.metrics import SicCurve, Value
from onlineflows.offline.scores import MethodResult

Document = dict[str, Any]

FORMAT = 1
"""Of the documents; parts of another format are computed again."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of work.

    Args:
        name: unique in a validation; that of its file.
        kind: which study of `onlineflows.offline.studies.STUDIES` it is.
        arguments: what the study is asked for, plain JSON types.
        cost: roughly how long it takes, in trained classifiers; for the progress bar.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    cost: int = 1

    def key(self, fingerprint: str, settings: Mapping[str, Any]) -> str:
        """Returns what its result depends on, as a hash.

        Args:
            fingerprint: of the events and the snapshot.
            settings: of the validation.
        """
        own = [self.name, self.kind, dict(self.arguments)]
        whole = [onlineflows.__version__, FORMAT, *own, fingerprint, dict(settings)]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


class PartStore:
    """Finished parts in a folder, one file each.

    Args:
        folder: is made when the first part is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, name: str, key: str) -> Document | None:
        """Returns a part; None where there is none, or one of other inputs or a damaged one."""
        try:
            found = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
            if found["key"] == key:
                document: Document = found["document"]
                return document
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def save(self, name: str, key: str, document: Document) -> None:
        """Keeps a part; what was there under its name is replaced at once or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.json"
        written = path.with_suffix(".partial")
        text = json.dumps({"key": key, "document": document}, allow_nan=False)
        written.write_text(text + "\n", encoding="utf-8")
        written.replace(path)


def result_document(result: MethodResult) -> Document:
    """Returns a result as plain JSON types, exactly."""
    return {
        "auc": [result.auc.value, result.auc.error],
        "max_sic": [result.max_sic.value, result.max_sic.error],
        "n_train_sr": result.n_train_sr,
        "n_train_sb": result.n_train_sb,
        "curve": {
            name: getattr(result.curve, name).tolist() for name in ("tpr", "fpr", "sic", "error")
        },
    }


def result_of(document: Document) -> MethodResult:
    """Returns what `result_document` was given."""
    curve = {name: np.array(values) for name, values in document["curve"].items()}
    return MethodResult(
        auc=Value(*document["auc"]),
        max_sic=Value(*document["max_sic"]),
        curve=SicCurve(**curve),
        n_train_sr=document["n_train_sr"],
        n_train_sb=document["n_train_sb"],
    )
