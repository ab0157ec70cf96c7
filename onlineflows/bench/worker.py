"""One contender in a process of its own: ``python -m onlineflows.bench.worker``.

It reads lines from its standard input: a task first, then numbers of calls, and answers each with
one line of JSON. It ends when its input does. JAX brings threads of its own, and the engine picks
its instruction set when it is loaded: both need a process that nothing else runs in.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from onlineflows.bench.task import Task
from onlineflows.bench.timing import timed


def main(lines: TextIO, answers: TextIO) -> None:
    """Serves until the input ends.

    Args:
        lines: a task, then a number of calls on each line.
        answers: what it is, then what the calls took, as JSON.
    """
    task = Task.from_line(lines.readline())
    call, what = build(task)
    call()
    _answer(answers, what)
    for line in lines:
        slot = timed(call, int(line))
        _answer(answers, {"wall_s": slot.wall_s, "cpu_s": slot.cpu_s})


def build(task: Task) -> tuple[Callable[[], object], dict[str, Any]]:
    """Returns what the contender does with a batch, and which version or instruction set it is."""
    if task.implementation == "flowjax":
        keep_to(task.threads)
        import flowjax

        from onlineflows.bench import flowjax_peer

        return flowjax_peer.make_call(task), {"version": flowjax.__version__}
    from onlineflows.bench.cases import Case
    from onlineflows.bench.local import Way, our_call, our_flow
    from onlineflows.engine import Precision, info
    from onlineflows.settings import FlowConfig

    names = ("family", "transform", "blocks", "hidden", "bins", "bound")
    config = FlowConfig(**{name: getattr(task, name) for name in names})
    case = Case(task.flow, config, task.n_features, task.n_context)
    dtype: Precision = "bfloat16" if task.dtype == "bfloat16" else "float32"
    flow = our_flow(case, Way("engine", dtype), task.threads)
    return our_call(flow, case, task.verb, task.batch), {"isa": info().isa}


def keep_to(threads: int) -> None:
    """Keeps this process to so many CPUs: XLA starts as many threads as it may use."""
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cpus[-threads:])


def _answer(answers: TextIO, document: dict[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
