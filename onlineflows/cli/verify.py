"""`onlineflows inspect --verify`: is a snapshot what the owner of a key signed?"""

from pathlib import Path

from onlineflows.cli.exits import DONE, FAILED
from onlineflows.cli.output import Output
from onlineflows.online.signature import Verdict
from onlineflows.online.signature import verify as verdict_on
from onlineflows.online.snapshot import find_snapshot, read_snapshot
from streams.keyfiles import read_public


def verify(snapshot: Path, key: str, output: Output) -> int:
    """Prints whether a snapshot is genuine; returns 0 where it is, 1 where it is not.

    Args:
        snapshot: what `find_snapshot` takes.
        key: the signer's public key: a file or its 64 hexadecimal digits.
        output: how to print.

    Raises:
        SnapshotError: there is no snapshot, or it was signed although it is damaged.
        SecurityError: the key is none.
    """
    public = read_public(key, "ed25519")
    path = find_snapshot(snapshot)
    verdict = verdict_on(path, public)
    if verdict.is_genuine:
        read_snapshot(path)
    document = {
        "snapshot": path,
        "state": verdict.state,
        "is_genuine": verdict.is_genuine,
        "signer": verdict.signer,
        "key": public.hex(),
    }
    output.result(document, f"{path}: {_text(verdict, public)}")
    return DONE if verdict.is_genuine else FAILED


def _text(verdict: Verdict, public: bytes) -> str:
    match verdict.state:
        case "genuine":
            return f"genuine: signed with {public.hex()} and unchanged since"
        case "unsigned":
            return (
                "NOT GENUINE: it has no signature; snapshots are signed where "
                "snapshot.signing_key is set"
            )
        case "malformed":
            return "NOT GENUINE: its signature file is no signature"
        case "other key":
            return f"NOT GENUINE: another key is named, {verdict.signer}; expected {public.hex()}"
        case "changed":
            return "NOT GENUINE: its files are not the ones that were signed"
