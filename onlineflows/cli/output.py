"""What a verb prints: its result on standard output, for people or for machines."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onlineflows.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Output:
    """How a verb speaks; given to every command.

    Args:
        as_json: print one JSON document instead of text.
        quiet: no progress, and warnings as the only log.
        log_json: log records as JSON lines.
    """

    as_json: bool = False
    quiet: bool = False
    log_json: bool = False

    def result(self, document: Mapping[str, Any], text: str) -> None:
        """Prints a verb's result: the document for machines, or the text for people."""
        written = json.dumps(document, default=_plain, indent=2) if self.as_json else text
        print(written, file=sys.stdout, flush=True)


def require_folder(path: Path, option: str) -> None:
    """Checks before any work that a result can be put where the user wants it.

    Raises:
        ConfigError: there is no such folder, or a folder has the file's name.
    """
    if not path.parent.is_dir():
        raise ConfigError(
            f"{option}: expected a file in an existing folder; got {path}: make {path.parent}"
        )
    if path.is_dir():
        raise ConfigError(f"{option}: expected the name of a file; got the folder {path}")


def require_figure(path: Path) -> None:
    """Checks before any work that a figure can be put where ``--figure`` says.

    Raises:
        ConfigError: it is no PNG and no PDF, or there is no such folder.
    """
    if path.suffix not in (".png", ".pdf"):
        raise ConfigError(f"--figure: expected a name ending in .png or .pdf; got {path.name}")
    require_folder(path, "--figure")


def _plain(value: Any) -> Any:
    """The JSON form of what the learner deals in."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"expected a value with a JSON form; got {type(value).__name__}")
