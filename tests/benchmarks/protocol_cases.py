"""Random cases of the protocol: all ends, and a network that does its worst, without sockets.

    python tests/benchmarks/protocol_cases.py [--cases 10000] [--seed 1]

Prints JSON: how many cases were run, the steps in them, and those that failed. A case that fails
is printed to the standard error; run the test of the same name to have it made small.
"""

import argparse
import importlib.util
import json
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from streams import StreamError

CASES_PER_ROUND = 500


def load() -> ModuleType:
    """Returns the module of the test, which is not part of a package."""
    path = Path(__file__).parents[1] / "streams" / "test_protocol.py"
    spec = importlib.util.spec_from_file_location("test_protocol", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"expected the test of the protocol at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(n_cases: int, first_seed: int) -> dict[str, Any]:
    """Runs rounds of cases, each with a seed of its own, until there were enough."""
    module = load()
    machine: Any = module.Wire
    began = time.process_time()
    failures = 0
    last = first_seed
    while machine.n_cases < n_cases:
        n = min(CASES_PER_ROUND, n_cases - machine.n_cases)
        # A class of its own: the seed is kept in the class.
        subject = seed(last)(type("Wire", (machine,), {}))
        last += 1
        try:
            run_state_machine_as_test(
                subject,
                settings=settings(
                    module.cases(n, (Phase.generate,)), database=None, report_multiple_bugs=False
                ),
            )
        except (AssertionError, StreamError):
            failures += 1
            traceback.print_exc()
    return {
        "cases": machine.n_cases,
        "steps": machine.n_steps,
        "failures": failures,
        "seeds": [first_seed, last - 1],
        "cpu_s": round(time.process_time() - began, 1),
    }


def main() -> int:
    """Prints what was found; the exit code is 1 if any case failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = run(arguments.cases, arguments.seed)
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
