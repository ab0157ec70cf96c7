"""`onlineflows keys`: keys for the wire and for signatures, and who is admitted."""

from pathlib import Path
from typing import Any

from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError
from streams.errors import SecurityError
from streams.keyfiles import (
    PUBLIC_SUFFIX,
    Kind,
    allow,
    read_allowed,
    read_public,
    read_secret,
    write_pair,
)

WIRE_HINT = """\
Keep {name}.secret here and give {name}.public to the other side. In the configuration:
  [wire.security]
  producer_secret = "keys/producer.secret"   # where the producer runs
  allowed         = "keys/allowed"           # its list: onlineflows keys allow keys/allowed ...
  consumer_secret = "keys/consumer.secret"   # where the consumer runs
  producer_public = "keys/producer.public"   # the only producer that it believes"""

SIGNING_HINT = """\
Sign snapshots with --set snapshot.signing_key={secret}; whoever has {public} checks them with
  onlineflows inspect --verify {public} SNAPSHOT"""


def make(name: str, folder: Path, output: Output, *, signing: bool) -> int:
    """Makes a pair of keys; returns the exit code.

    Raises:
        SecurityError: such a pair exists already, or the folder can't be written.
    """
    if signing:
        from onlineflows.online.signature import signing_pair

        secret, public = signing_pair()
        kind: Kind = "ed25519"
    else:
        from streams.security import curve_pair

        public, secret = curve_pair()
        kind = "curve"
    paths = write_pair(folder, name, kind, secret=secret, public=public)
    document = {"kind": kind, "secret": paths[0], "public": paths[1], "key": public.hex()}
    hint = SIGNING_HINT.format(secret=paths[0], public=paths[1])
    if not signing:
        hint = WIRE_HINT.format(name=name)
    text = f"{paths[0]} (yours alone)\n{paths[1]} (for others)\nkey {public.hex()}\n{hint}"
    output.result(document, text)
    return DONE


def show(path: Path, output: Output) -> int:
    """Prints the public key or keys in a file; returns the exit code.

    Args:
        path: a key file, secret or public, or an allow-list.
        output: how to print.

    Raises:
        SecurityError: it is none of them.
    """
    found = _found(path)
    lines = [f"{entry['key']} {entry['kind']} {entry['name']}".rstrip() for entry in found]
    output.result({"keys": found}, "\n".join(lines) or "no keys")
    return DONE


def admit(path: Path, key: str, name: str, output: Output) -> int:
    """Puts a consumer's public key on an allow-list; returns the exit code.

    Raises:
        SecurityError: it is no key of the wire, or the list can't be written.
    """
    public = read_public(key, "curve")
    name = name or (Path(key).name.removesuffix(PUBLIC_SUFFIX) if len(key) != 64 else "")
    is_new = allow(path, public, name)
    document = {"allowed": path, "key": public.hex(), "name": name, "is_new": is_new}
    done = "is admitted from now on" if is_new else "was on the list already"
    output.result(document, f"{path}: {name or public.hex()} {done}")
    return DONE


def _found(path: Path) -> list[dict[str, Any]]:
    """Returns the keys in any of our files."""
    if not path.is_file():
        raise ConfigError(f"{path}: expected a file of keys; got none")
    for kind in ("curve", "ed25519"):
        try:
            return [{"key": read_public(path, kind).hex(), "kind": kind, "name": ""}]
        except SecurityError:
            pass
        try:
            secret = read_secret(path, kind)
        except SecurityError:
            continue
        return [{"key": _public(kind, secret).hex(), "kind": kind, "name": "(from the secret)"}]
    return [
        {"key": key.hex(), "kind": "curve", "name": name}
        for key, name in read_allowed(path).items()
    ]


def _public(kind: Kind, secret: bytes) -> bytes:
    if kind == "curve":
        from streams.security import curve_public

        return curve_public(secret)
    from onlineflows.online.signature import Signer

    return Signer(secret).public
