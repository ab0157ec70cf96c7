"""What the river and the scikit-learn adapter share: a density of rows that come piece by piece."""

from collections import Counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import Density
from onlineflows.flows import flow_over
from onlineflows.online.model_learner import ModelLearner
from onlineflows.settings import (
    BufferConfig,
    FlowConfig,
    LearnerConfig,
    OptimiserConfig,
    PreprocessConfig,
    TrainerConfig,
)
from streams import EventSchema

CAPACITY = 16_384
"""Events that the buffer holds, unless a mini-batch is larger."""


class Sizes(Protocol):
    """The settings that both adapters have as parameters of their own; see `onlineflows.settings`.

    Attributes:
        fit_events: events that the marginal map is fitted on.
        uses: how often each event is trained on.
        batch_size: events of a gradient step.
        learning_rate: the rate after warm-up.
        blocks, hidden, bins: sizes of the flow.
    """

    fit_events: int
    uses: int
    batch_size: int
    learning_rate: float
    blocks: int
    hidden: int
    bins: int


def learner_config(sizes: Sizes, seed: int) -> LearnerConfig:
    """Returns what is learned, and how.

    Raises:
        ConfigError: a size makes no sense.
    """
    return LearnerConfig(
        preprocess=PreprocessConfig(fit_events=sizes.fit_events),
        flow=FlowConfig(blocks=sizes.blocks, hidden=sizes.hidden, bins=sizes.bins),
        buffer=BufferConfig(capacity=max(CAPACITY, sizes.batch_size), uses=sizes.uses),
        optimiser=OptimiserConfig(learning_rate=sizes.learning_rate),
        trainer=TrainerConfig(batch_size=sizes.batch_size, seed=seed),
    )


class OnlineDensity:
    """Learns p(x) of rows that come piece by piece, in bounded memory.

    It can be pickled and copied at any time. θ is a pure function of the rows in their order and
    of the configuration: the sizes of the pieces don't matter.

    Args:
        schema: what the rows are.
        config: what to learn, and how; of its models the first.

    Attributes:
        n_seen: rows so far.
        skipped: rows that weren't learned from, by reason: "missing" (a value is NaN),
            "non_finite" (one is infinite), "out_of_support".
    """

    def __init__(self, schema: EventSchema, config: LearnerConfig) -> None:
        self.schema = schema
        self.config = config
        self.n_seen = 0
        self.skipped: Counter[str] = Counter()
        self._learner = ModelLearner(schema, config, config.models[0])

    def learn(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes in rows and trains on what is due.

        Args:
            x: events, shape (n, d), in the schema's units; copied where they are kept.

        Returns:
            Those that are learned from, now or as soon as the marginal map is fitted.

        Raises:
            DivergedError: the loss or its gradient isn't finite.
        """
        indices = np.arange(self.n_seen, self.n_seen + len(x))
        self.n_seen += len(x)
        inside = self.schema.in_support(x)
        if not inside.all():
            self._count(x[~inside])
            x, indices = x[inside], indices[inside]
        self._learner.take(x, indices)
        return x

    def density(self) -> Density | None:
        """Returns the density learned so far; None until the marginal map is fitted."""
        return self._learner.density()

    def finished(self) -> Density | None:
        """Returns what the density would be if the rows ended here, in double precision.

        A copy trains on what is owed; what comes later is learned as if nobody had asked. None
        where no row could be learned from.
        """
        copy = ModelLearner(self.schema, self.config, self.config.models[0])
        copy.load(self._learner.state())
        copy.finish()
        density = copy.density()
        if density is None:
            return None
        flow = flow_over(density.flow.spec, density.flow.theta.double())
        return Density(density.schema, density.preprocessing, flow)

    def _count(self, refused: NDArray[np.float32]) -> None:
        missing = np.isnan(refused).any(axis=1)
        infinite = ~missing & np.isinf(refused).any(axis=1)
        outside = ~missing & ~infinite
        for reason, rows in (
            ("missing", missing),
            ("non_finite", infinite),
            ("out_of_support", outside),
        ):
            self.skipped[reason] += int(np.count_nonzero(rows))

    def __getstate__(self) -> dict[str, Any]:
        # θ, the optimiser's vectors and the engine share memory: only the learner knows how.
        return {**self.__dict__, "_learner": self._learner.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._learner = ModelLearner(self.schema, self.config, self.config.models[0])
        self._learner.load(state["_learner"])


def to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Returns numbers in single precision; what exceeds it becomes infinite, without a warning."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
