"""The libraries that flows are compared with, where they are installed."""

import importlib
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from onlineflows.bench.cases import Case
from onlineflows.bench.local import LocalContender, TorchPeer, peer_call
from onlineflows.bench.remote import RemoteContender, task_of
from onlineflows.bench.timing import Contender, Verb

TORCH_PEERS = ("zuko", "nflows")
"""Run in this process."""

PEERS = (*TORCH_PEERS, "flowjax")
"""flowjax runs in a process of its own, once for each number of threads."""


def peer_version(name: str) -> str | None:
    """Returns a library's version; None where it isn't installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def peer_contenders(
    name: str, case: Case, verb: Verb, *, batch: int, threads: Sequence[int]
) -> dict[int, Contender]:
    """Returns a library's contenders by number of threads; none where it isn't installed.

    Workers are only started: wait for them before they take their turns.
    """
    if peer_version(name) is None:
        return {}
    if name not in TORCH_PEERS:
        return {
            n: RemoteContender(task_of(case, name, verb, batch=batch, threads=n)) for n in threads
        }
    call = peer_call(_torch_peer(name, case), case, verb, batch)
    return {n: LocalContender(call, n_events=batch, threads=n) for n in threads}


def _torch_peer(name: str, case: Case) -> TorchPeer:
    # Their warnings are about their own code: nothing that a user of ours can mend.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(f"onlineflows.bench.{name}_peer")
        peer: TorchPeer = module.make_peer(case)
    return peer
