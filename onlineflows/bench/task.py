"""What a contender in another process is asked to do. Loads neither torch nor a peer."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from onlineflows.bench.timing import Verb


@dataclass(frozen=True, slots=True)
class Task:
    """One contender, in plain numbers.

    Args:
        implementation: "flowjax" or "engine".
        verb: what it does with a batch.
        batch: events of a call.
        threads: CPU threads that it may use.
        flow: name of the case.
        dtype: of the engine's products.
        family, transform, blocks, hidden, bins, bound: as in `FlowConfig`.
        n_features, n_context: as in `Case`.
    """

    implementation: str
    verb: Verb
    batch: int
    threads: int
    flow: str
    dtype: str
    family: str
    transform: str
    blocks: int
    hidden: int
    bins: int
    bound: float
    n_features: int
    n_context: int

    def line(self) -> str:
        """Returns the task as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Returns the task that `line` wrote."""
        return cls(**json.loads(line))
