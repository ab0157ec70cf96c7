"""The public files that are known by name, from ``catalogue.toml`` beside this module."""

import functools
import importlib.resources
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streams.errors import InputError, nearest

ZENODO = "https://zenodo.org"
CATALOGUE = "catalogue.toml"

Kind = Literal["features", "particles", "labels"]

CONFIGS: dict[Kind, str] = {
    "features": "configs/lhco.toml",
    "particles": "configs/lhco_particles.toml",
}
"""Which shipped configuration reads a kind of file."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of Zenodo.

    Args:
        number: its number there.
        title: what it is called there, in short.
        authors: family names.
        licence: SPDX name; empty where the record must be asked.
    """

    number: int
    title: str
    authors: str
    licence: str = ""

    @property
    def doi(self) -> str:
        """The digital object identifier, to be cited."""
        return f"10.5281/zenodo.{self.number}"


@dataclass(frozen=True, slots=True)
class PublicFile:
    """One file of a record.

    Args:
        name: a short one, as given on a command line.
        file: the name that it was published under.
        record: where.
        about: what it holds, in a line.
        kind: how it is laid out.
        n_rows: events; None where nobody says.
        has_label: whether it holds the truth; None where nobody says.
        size_mb: about how large it is; None where nobody says.
        md5: as published; None where Zenodo must be asked.
    """

    name: str
    file: str
    record: Record
    about: str
    kind: Kind
    n_rows: int | None = None
    has_label: bool | None = None
    size_mb: float | None = None
    md5: str | None = None

    def url(self, server: str = ZENODO) -> str:
        """Returns the address of its bytes.

        Args:
            server: Zenodo, or a mirror with Zenodo's paths.
        """
        return f"{server.rstrip('/')}/api/records/{self.record.number}/files/{self.file}/content"

    @property
    def config(self) -> str:
        """The shipped configuration that reads it; empty for none."""
        return CONFIGS.get(self.kind, "")


@functools.cache
def catalogue() -> tuple[PublicFile, ...]:
    """Returns all files that are known, in the order of ``catalogue.toml``.

    Example:
        >>> [f"{f.name} {f.kind}" for f in catalogue()][:2]
        ['lhco-features features', 'lhco-qqq-features features']
    """
    text = importlib.resources.files("replay.public").joinpath(CATALOGUE).read_text("utf-8")
    return tuple(
        _public_file(file, record)
        for record in tomllib.loads(text)["records"]
        for file in record["files"]
    )


def find_public(name: str) -> PublicFile:
    """Returns the file of this name: the short one, or the one that it was published under.

    Raises:
        InputError: there is none; the message names the nearest.

    Example:
        >>> find_public("lhco-particles").file
        'events_anomalydetection_v2.h5'
    """
    found = public_file_of(Path(name))
    if found is not None and name in (found.name, found.file):
        return found
    names = [known.name for known in catalogue()]
    raise InputError(
        f"expected the name of a public file; got {name!r}; {nearest(name, names)}; "
        f"'onlineflows data list' shows all"
    )


def public_file_of(path: Path) -> PublicFile | None:
    """Returns what a path's last part names, or None."""
    return next((f for f in catalogue() if path.name in (f.file, f.name)), None)


def public_file_with(md5: str) -> PublicFile | None:
    """Returns the file that was published with this checksum, or None."""
    return next((f for f in catalogue() if f.md5 == md5), None)


def _public_file(file: dict[str, Any], record: dict[str, Any]) -> PublicFile:
    return PublicFile(
        name=file["name"],
        file=file["file"],
        record=Record(record["id"], record["title"], record["authors"], record.get("licence", "")),
        about=file["about"],
        kind=file["kind"],
        n_rows=file.get("rows"),
        has_label=file.get("labels"),
        size_mb=file.get("size_mb"),
        md5=file.get("md5"),
    )
