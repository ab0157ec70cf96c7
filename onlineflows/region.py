"""The region of the resonant feature that a model learns."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import ConfigError
from streams import EventSchema, Feature

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Region:
    """Events inside a closed interval of the resonant feature, or outside of it, or all.

    Args:
        inside: only these; infinite ends stand for those of the support.
        outside: all but these.
    """

    inside: Interval | None = None
    outside: Interval | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no event is left out."""
        return self.inside is None and self.outside is None

    def contains(self, m: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Returns which values of the resonant feature are in the region, shape (n,)."""
        everything: NDArray[np.bool_] = np.ones(len(m), dtype=np.bool_)
        if self.inside is not None:
            return everything & (m >= self.inside[0]) & (m <= self.inside[1])
        if self.outside is not None:
            return (m < self.outside[0]) | (m > self.outside[1])
        return everything

    def schema_of(self, schema: EventSchema, *, model: str) -> EventSchema:
        """Returns the schema of the region's density: a window is the support of its model.

        Outside a window the support stays whole: that model says something inside, too.

        Args:
            schema: of all events.
            model: whose region it is, for the message.

        Raises:
            ConfigError: no event in the support is in the region.
        """
        m = schema.resonant
        if self.outside is not None and self.outside[0] <= m.low and m.high <= self.outside[1]:
            raise ConfigError(self._nothing(m, model, "outside", self.outside))
        if self.inside is None:
            return schema
        low, high = max(m.low, self.inside[0]), min(m.high, self.inside[1])
        if not low < high:
            raise ConfigError(self._nothing(m, model, "inside", self.inside))
        return EventSchema((dataclasses.replace(m, low=low, high=high), *schema.features[1:]))

    def __str__(self) -> str:
        if self.inside is not None:
            return f"inside [{self.inside[0]:g}, {self.inside[1]:g}]"
        if self.outside is not None:
            return f"outside [{self.outside[0]:g}, {self.outside[1]:g}]"
        return "everything"

    def _nothing(self, m: Feature, model: str, key: str, interval: Interval) -> str:
        return (
            f"models: {model!r}: {key}: expected a region with some of the support of {m.label}, "
            f"[{m.low:g}, {m.high:g}]; got {list(interval)}"
        )
