"""What watching costs the learner: ``python tests/benchmarks/live_overhead.py [--events N]``.

The same stream is learned without a console, with one that nobody listens to, with the live page
open in a headless browser, and with that browser stopped (SIGSTOP) while the page is open. The
cases take turns. Of each, after a fifth of the stream: the learner's CPU time (all its threads) and
wall time, the CPU time spent on the console itself as a share of either (a document is published
once a second of wall time: on a machine that others use, the share of CPU time is larger), and the
hash of θ, which must be the same in all. Prints JSON; ratios are medians of those within a round,
with their standard errors. Without a browser the last two cases are left out.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

CASES = ("no console", "nobody", "page", "stalled")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-port=0",
]
PROGRAM = [sys.executable, "-m", "onlineflows"]
WAIT_S = 300.0


def browser_path() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {WAIT_S} s")
        time.sleep(0.05)


@contextlib.contextmanager
def running(command: list[str], *, errors: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which doesn't outlive the block."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=None if errors else subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def viewers(port: int) -> int:
    """How many browsers show the page; none while the server isn't there yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return int(json.load(answer)["viewers"])
    except urllib.error.HTTPError as error:  # not well yet: there is no daemon
        return int(json.load(error)["viewers"])
    except OSError:
        return 0


@contextlib.contextmanager
def watched(case: str, run: Path) -> Iterator[None]:
    """Whoever watches in a case, ready before the stream begins."""
    if case not in ("page", "stalled"):
        yield
        return
    browser, port = browser_path(), free_port()
    assert browser is not None
    page = [*PROGRAM, "live", str(run), "--port", str(port)]
    with tempfile.TemporaryDirectory() as profile, running(page):
        wait_until(lambda: answers(port), "page")
        show = [browser, *FLAGS, f"--user-data-dir={profile}", f"http://127.0.0.1:{port}/"]
        with running(show, errors=False) as shown:
            wait_until(lambda: viewers(port) > 0, "browser")
            if case == "stalled":
                os.killpg(shown.pid, signal.SIGSTOP)
            yield


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def measure(case: str, folder: Path, n_events: int) -> dict[str, float | str]:
    """One run of one case."""
    port = free_port()
    settings = {
        "run.directory": folder,
        "run.name": "watched",
        "source.n_events": n_events,
        "wire.address": f"tcp://127.0.0.1:{port}",
        "operation.console": "false" if case == "no console" else "true",
        "snapshot.every_events": 100_000,
        "wire.connect_timeout_s": WAIT_S,
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with watched(case, folder / "watched"), running([*PROGRAM, "replay", "-q", *words]):
        done = subprocess.run(
            [sys.executable, __file__, "--learn", *words], stdout=subprocess.PIPE, check=True
        )
    return json.loads(done.stdout)


def learn(words: list[str]) -> None:
    """The learner's process: prints what it took."""
    from onlineflows.cli import train as verb
    from onlineflows.cli.config import load_config
    from onlineflows.cli.output import Output
    from onlineflows.online import operator as place
    from onlineflows.online.learned import MODEL_FILE

    config = load_config(None, [word for word in words if word != "--set"])
    marks: list[tuple[float, float, float]] = []
    spent_s = 0.0
    attend = place.Operator.attend

    def timed(self, consumer, receiver) -> None:  # type: ignore[no-untyped-def]
        nonlocal spent_s
        began_s = time.thread_time()
        attend(self, consumer, receiver)
        spent_s += time.thread_time() - began_s
        if consumer.progress.n_trained >= config.source.n_events // 5:
            marks.append((time.process_time(), time.perf_counter(), spent_s))
            del marks[1:-1]

    place.Operator.attend = timed  # type: ignore[method-assign]
    report = verb.consume(config, Output(quiet=True), start="fresh", stop=lambda: False)
    assert report.snapshot is not None
    (cpu_0, wall_0, spent_0), (cpu_1, wall_1, spent_1) = marks
    print(
        json.dumps(
            {
                "cpu_s": cpu_1 - cpu_0,
                "wall_s": wall_1 - wall_0,
                "console_of_cpu": (spent_1 - spent_0) / (cpu_1 - cpu_0),
                "console_of_wall": (spent_1 - spent_0) / (wall_1 - wall_0),
                "theta": hashlib.sha256((report.snapshot / MODEL_FILE).read_bytes()).hexdigest(),
            }
        )
    )


def summary(rounds: list[dict[str, dict[str, float | str]]]) -> dict[str, object]:
    """Medians of each case, and its ratios to the first within each round."""
    found: dict[str, object] = {}
    for case in rounds[0]:
        rows: dict[str, object] = {}
        for key in ("cpu_s", "wall_s"):
            ratios = [float(r[case][key]) / float(r[CASES[0]][key]) for r in rounds]
            spread = statistics.stdev(ratios) if len(ratios) > 1 else float("nan")
            rows[key] = round(statistics.median(float(r[case][key]) for r in rounds), 3)
            rows[f"{key[:-2]}_ratio"] = round(statistics.median(ratios), 4)
            rows[f"{key[:-2]}_ratio_error"] = round(1.25 * spread / len(ratios) ** 0.5, 4)
        for key in ("console_of_cpu", "console_of_wall"):
            rows[key] = round(statistics.median(float(r[case][key]) for r in rounds), 6)
        found[case] = rows
    thetas = {row["theta"] for r in rounds for row in r.values()}
    return {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "rounds": len(rounds),
        "same_theta": len(thetas) == 1,
        "cases": found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases = CASES if browser_path() else CASES[:2]
    rounds = []
    for number in range(options.rounds):
        # Each round begins with another case, so that what else the machine does falls on all.
        order = [cases[(number + i) % len(cases)] for i in range(len(cases))]
        found = {}
        for case in order:
            with tempfile.TemporaryDirectory() as folder:
                found[case] = measure(case, Path(folder), options.events)
        rounds.append({case: found[case] for case in cases})
        print(json.dumps(rounds[-1]), file=sys.stderr)
    result = summary(rounds)
    print(json.dumps(result, indent=1))
    return 0 if result["same_theta"] else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--learn"]:
        learn(sys.argv[2:])
    else:
        sys.exit(main())
