"""What Zenodo publishes of a file: its size, its checksum, its licence."""

import json
from dataclasses import dataclass
from typing import Any

from replay.public.catalogue import ZENODO, PublicFile
from replay.public.web import Web
from streams.errors import DownloadError

MAX_NBYTES = 8 << 20
"""No description of a record is longer."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a record says of one of its files.

    Args:
        md5: its checksum.
        nbytes: its size.
        licence: the record's, as an SPDX name in lower case; empty where it has none.
    """

    md5: str
    nbytes: int
    licence: str


def ask_zenodo(public: PublicFile, web: Web, server: str = ZENODO) -> Published:
    """Returns what a record says of one of its files, asked now.

    Args:
        public: the file.
        web: the client.
        server: Zenodo, or a mirror with Zenodo's paths.

    Raises:
        DownloadError: no connection, or the answer isn't what Zenodo's interface promises.
    """
    url = f"{server.rstrip('/')}/api/records/{public.record.number}"
    body = bytearray()
    with web.get(url) as answer:
        for chunk in answer.chunks:
            body += chunk
            if len(body) > MAX_NBYTES:
                raise DownloadError(
                    f"expected a record in at most {MAX_NBYTES:,} bytes; got more; at {url}"
                )
    try:
        return _published(json.loads(body), public.file)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise DownloadError(
            f"expected a record with the size and MD5 of {public.file}; got "
            f"{type(error).__name__}: {error}; at {url}"
        ) from error


def _published(record: dict[str, Any], name: str) -> Published:
    file = next((f for f in record["files"] if f["key"] == name), None)
    if file is None:
        raise ValueError(f"its files are {', '.join(str(f['key']) for f in record['files'])}")
    algorithm, _, digits = str(file["checksum"]).rpartition(":")
    if algorithm not in ("", "md5") or len(digits) != 32 or int(digits, 16) < 0:
        raise ValueError(f"its checksum is {file['checksum']!r}")
    licence = record["metadata"].get("license") or {"id": ""}
    return Published(digits.lower(), int(file["size"]), str(licence["id"]))
