"""Coverage-guided fuzzing of everything that reads bytes, with atheris (libFuzzer).

    pip install atheris
    python tests/benchmarks/coverage_fuzz.py [--target codec] [libFuzzer's own options, such as
        -max_total_time=600 -seed=1]

Targets: codec (messages of both sides; the frames of one follow each other with their sizes), begin
(the document of a begin of run), manifest, checkpoint, keys. Only the errors that each of them
promises may come out; anything else ends the program with the input that caused it.
"""

import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

try:
    import atheris
except ImportError:  # no development tool: it needs a wheel for this Python
    atheris = None

WATCHED = ["streams", "onlineflows.online", "json"]

with atheris.instrument_imports(include=WATCHED) if atheris else contextlib.nullcontext():
    from onlineflows.errors import CheckpointError, SnapshotError
    from onlineflows.online.checkpoint import read_checkpoint
    from onlineflows.online.durable import sha256
    from onlineflows.online.seal import require_plain, unsealed
    from streams import LHCO, Batch, Counts, RunBegan, SourceFile
    from streams.codec import (
        decode_batch,
        decode_begin,
        decode_from_consumer,
        decode_from_producer,
        encode,
        encode_batch,
        encode_begin,
        hash_of,
    )
    from streams.errors import MessageError, SecurityError
    from streams.keyfiles import read_allowed, read_public, read_secret
    from streams.messages import Begin, Data, Hello, Stand

FOLDER = Path(tempfile.mkdtemp())
BEGIN = Begin(2, bytes(16), 1, "lossless", 1, 64, None, False, bytes(8))


def codec(content: bytes) -> None:
    """One message from either side."""
    frames = []
    while content:
        size = int.from_bytes(content[:2], "little")
        frames.append(content[2 : 2 + size])
        content = content[2 + size :]
    try:
        message = decode_from_producer(frames)
        if isinstance(message, Data):
            decode_batch(message, frames, 5)
        elif isinstance(message, Begin):
            decode_begin(message, frames)
    except MessageError:
        pass
    with contextlib.suppress(MessageError):
        decode_from_consumer(frames)


def begin(content: bytes) -> None:
    """A begin of run whose document has the hash that is claimed."""
    header = Begin(
        **{name: getattr(BEGIN, name) for name in BEGIN.__struct_fields__}
        | {"document_hash": hash_of(content)}
    )
    with contextlib.suppress(MessageError):
        decode_begin(header, [b"", content])


def manifest(content: bytes) -> None:
    """A manifest, given without its end, whose seal is right."""
    head = content + b',"seal":"'
    digest = hashlib.sha256(head + b"0" * 64 + b'"}').hexdigest().encode()
    with contextlib.suppress(SnapshotError):
        require_plain(unsealed(head + digest + b'"}'))


def checkpoint(content: bytes) -> None:
    """A checkpoint whose name has the right hash."""
    path = FOLDER / f"{1:020d}-{sha256(content)[:32]}.checkpoint"
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        read_checkpoint(FOLDER)
    path.unlink()


def keys(content: bytes) -> None:
    """A file of keys."""
    path = FOLDER / "keys"
    path.write_bytes(content)
    path.chmod(0o600)
    for read in (read_allowed, read_secret, read_public):
        with contextlib.suppress(SecurityError):
            read(*((path,) if read is read_allowed else (path, "curve")))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "codec": codec,
    "begin": begin,
    "manifest": manifest,
    "checkpoint": checkpoint,
    "keys": keys,
}


def seeds(name: str) -> list[bytes]:
    """Returns valid inputs of a target, to begin with."""
    run = RunBegan("00" * 16, 1, LHCO, "lossless", sources=(SourceFile("a", 1, "00"),))
    frames = encode_begin(run)
    counts = Counts(8, 2, bad=6)
    header = Data(bytes(16), 0, 0, 8, 0, counts, 1, 1, 1, 1)
    batch = Batch(np.zeros((2, 5), np.float32), 0, 8, 1, 1, np.array([3], np.uint8))
    stand = Stand(0, 0, 0, Counts(), Counts(), bytes(8))
    hello = Hello((2,), "a", None, stand, 16, 1 << 20, False)
    messages = [frames, encode_batch(header, batch, None)[1], [encode(hello)]]
    joined = [b"".join(len(f).to_bytes(2, "little") + f for f in m) for m in messages]
    arrays = {"theta": np.zeros(2, np.float32)}
    state = safetensors.numpy.save(arrays, metadata={"checkpoint": '{"format":1}'})
    found = {
        "codec": joined,
        "begin": [frames[1]],
        "manifest": [b'{"format":2,"models":[{"name":"joint","flow":{"bins":8}}],"n":1.5'],
        "checkpoint": [state],
        "keys": [b"# a\n" + b"ab" * 32 + b" name\n", b"curve-secret " + b"ab" * 32],
    }
    return found[name]


def main() -> None:
    """Runs one target until libFuzzer has enough."""
    if atheris is None:
        raise SystemExit("expected atheris; got none: pip install atheris")
    arguments = list(sys.argv)
    name = "codec"
    if "--target" in arguments:
        at = arguments.index("--target")
        name = arguments[at + 1]
        del arguments[at : at + 2]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds(name)):
        (corpus / str(number)).write_bytes(content)
    atheris.Setup([*arguments, str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
