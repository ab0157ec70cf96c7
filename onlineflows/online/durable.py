"""Writing that survives a crash: a temporary name, a sync, a rename, a sync of the folder."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def sha256(content: bytes) -> str:
    """Returns the SHA-256 of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Writes a file so that a crash leaves either the old content or the new, never a mixture.

    Args:
        path: the file's final name; its folder must exist.
        content: the whole content.
        mode: permissions of the file, less the process's umask.

    Raises:
        OSError: the disk is full or the folder can't be written; an older file is as it was.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        _write_synced(temporary, content, mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Writes a folder of files that appears under its final name only when it is complete.

    Raises:
        OSError: the disk is full, or the folder exists already or can't be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, content in contents.items():
            _write_synced(temporary / name, content, 0o644)
        sync_folder(temporary)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(path.parent)


def point_to(link: Path, target: str) -> None:
    """Makes a symbolic link point to a sibling, replacing what it pointed to in one step."""
    temporary = link.with_name(f".{link.name}.partial")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
