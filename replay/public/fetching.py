"""A public file by name, in a folder: fetched, or found there, and compared with its checksum."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from replay.public.catalogue import ZENODO, PublicFile
from replay.public.download import Digests, Show, Wanted, digests_of, download
from replay.public.web import Patience, Web
from replay.public.zenodo import ask_zenodo
from streams.errors import DownloadError, InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum that a file must have.

    Args:
        md5: as published; None where none is known.
        known_from: "catalogue", "zenodo", or why there is none.
        nbytes: the published size; None where nobody asked.
    """

    md5: str | None
    known_from: str
    nbytes: int | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that lies in its folder.

    Args:
        public: which one it is.
        path: where it lies.
        checksum: what it was compared with.
        digests: what it has.
        was_there: whether it was there before.
    """

    public: PublicFile
    path: Path
    checksum: Checksum
    digests: Digests
    was_there: bool


def published_checksum(public: PublicFile, web: Web | None, server: str = ZENODO) -> Checksum:
    """Returns the catalogue's checksum, or else what Zenodo's record says now, asked once.

    Args:
        public: the file.
        web: the client; None to ask nobody.
        server: Zenodo, or a mirror with Zenodo's paths.
    """
    if public.md5 is not None:
        return Checksum(public.md5, "catalogue")
    if web is None:
        return Checksum(None, "the catalogue has none, and Zenodo wasn't asked")
    try:
        published = ask_zenodo(public, web, server)
    except DownloadError as error:
        return Checksum(None, f"the catalogue has none, and Zenodo didn't tell: {error}")
    return Checksum(published.md5, "zenodo", published.nbytes)


def fetch(
    public: PublicFile,
    folder: Path,
    web: Web,
    show: Show,
    *,
    server: str = ZENODO,
    overwrite: bool = False,
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetches a public file, unless it lies there already; returns what lies there.

    Args:
        public: which one.
        folder: where to put it, under the name that it was published under.
        web: the client.
        show: shows progress in bytes.
        server: Zenodo, or a mirror with Zenodo's paths.
        overwrite: replace a file of that name that isn't the published one.
        patience: how often to try again.
        sleep: waits, seconds.

    Raises:
        DownloadError: as `replay.public.download.download`.
        InputError: the folder isn't there, can't be written or is too small, or another file of
            that name is in the way.
    """
    if not folder.is_dir():
        raise InputError(
            f"expected an existing folder; got {str(folder)!r}; for {public.file}; create it"
        )
    path = folder / public.file
    checksum = published_checksum(public, web, server)
    if path.exists():
        digests = digests_of(path, show)
        if checksum.md5 in (None, digests.md5):
            return Fetched(public, path, checksum, digests, was_there=True)
        if not overwrite:
            raise InputError(
                f"expected the published file (MD5 {checksum.md5}) or none; got one with MD5 "
                f"{digests.md5}; at {path}; move it away, or replace it with --overwrite"
            )
    wanted = Wanted(public.url(server), path, checksum.md5, checksum.nbytes)
    digests = download(wanted, web, show, patience=patience, sleep=sleep)
    return Fetched(public, path, checksum, digests, was_there=False)
