"""`models`: what replicas of a model cost, against one θ and against a run for each of them."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from onlineflows.bench.cases import Case
from onlineflows.bench.learning import BATCH_EVENTS, STREAM_SEED, Events, Truth, feed
from onlineflows.bench.local import LocalContender
from onlineflows.bench.rows import Row, Subject, make_row
from onlineflows.bench.timing import Contender, Effort, Rate, interleave
from onlineflows.engine import available, info
from onlineflows.model_settings import JOINT, ModelConfig
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig

REPLICAS = (1, 4, 8, 16)
POOL_EVENTS = 65_536
"""Events that are learned over and over: the cost of one doesn't depend on its values."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a number of θ are trained.

    Args:
        replicas: R; there are 1 + R θ.
        kind: "bootstrap" or "unweighted" replicas in one run, or as many "separate" runs.
    """

    replicas: int
    kind: str


def measure_models(truth: Truth, effort: Effort, *, is_quick: bool) -> Iterator[Row]:
    """Yields whole learners with replicas beside separate learners, in turns.

    Args:
        truth: the stream.
        effort: how long to measure.
        is_quick: whether to show only that everything runs.
    """
    config = LearnerConfig()
    n_pool = POOL_EVENTS
    if is_quick:
        n_pool = 2 * BATCH_EVENTS
        config = replace(config, preprocess=replace(config.preprocess, fit_events=BATCH_EVENTS))
    events = truth.open(STREAM_SEED)(n_pool)
    numbers = REPLICAS[:1] if is_quick else REPLICAS
    kinds = ("bootstrap", "unweighted", "separate")
    all_ways = [Way(0, "one"), *(Way(n, kind) for n in numbers for kind in kinds)]
    contenders: dict[str, Contender] = {
        f"{way.kind} {way.replicas}": _contender(truth, config, way, events) for way in all_ways
    }
    rates = interleave(contenders, effort)
    for way in all_ways:
        yield _row(config, way, rates, truth.schema.n_features)


def _row(config: LearnerConfig, way: Way, rates: dict[str, Rate], n_features: int) -> Row:
    case = Case("default", config.flow, n_features, n_context=0)
    subject = Subject(
        case,
        "train",
        config.trainer.batch_size,
        config.trainer.threads,
        "engine" if available() else "torch",
        config.trainer.precision,
        info().isa if available() else "",
    )
    rate, one = rates[f"{way.kind} {way.replicas}"], rates["one 0"]
    separate = rates.get(f"separate {way.replicas}", one)
    return make_row(
        "models",
        subject,
        rate,
        ceilings={},
        what="Replicas of a model",
        detail={
            "replicas": way.replicas,
            "kind": way.kind,
            "uses": config.buffer.uses,
            "us_per_event": 1e6 / rate.events_per_cpu_s,
            "cost_of_one": one.events_per_cpu_s / rate.events_per_cpu_s,
            "against_separate": rate.events_per_cpu_s / separate.events_per_cpu_s,
        },
    )


def _contender(truth: Truth, config: LearnerConfig, way: Way, events: Events) -> LocalContender:
    """Learners in the middle of a stream, each of which learns every event."""
    seeds = range(1 + way.replicas) if way.kind == "separate" else range(1)
    replicas = 0 if way.kind == "separate" else way.replicas
    model = ModelConfig(JOINT, replicas=replicas, bootstrap=way.kind == "bootstrap")
    learners = [
        Learner(
            truth.schema,
            replace(config, models=(model,), trainer=replace(config.trainer, seed=seed)),
        )
        for seed in seeds
    ]
    for learner in learners:
        # Past the fit of the marginal map, and until all uses of the window are under way.
        feed(learner, events)
    return LocalContender(
        _call(learners, events), n_events=BATCH_EVENTS, threads=config.trainer.threads
    )


def _call(learners: list[Learner], events: Events) -> Callable[[], None]:
    starts = itertools.cycle(range(0, len(events), BATCH_EVENTS))

    def call() -> None:
        start = next(starts)
        for learner in learners:
            learner.learn(events[start : start + BATCH_EVENTS], lumisection=1)

    return call
