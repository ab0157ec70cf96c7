"""The test of correlated features: the jet masses moved along with the resonant mass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import ConfigError
from streams.schema import EventSchema

STRENGTH = 0.1
SHIFTED = ("mJ1", "dmJ")


def shift(
    x: NDArray[np.floating[Any]],
    schema: EventSchema,
    *,
    strength: float = STRENGTH,
    names: Sequence[str] = SHIFTED,
) -> NDArray[np.float32]:
    """Returns events whose named features are raised by a fraction of the resonant one.

    It makes the features depend on m as badly as they may: methods that compare signal region and
    sidebands directly (CWoLa) then learn m instead of the signal; those that take the background
    to the signal region at the right m (ANODE, CATHODE) needn't. Data, samples and evaluation
    events are shifted alike. Densities stay as they are, at the shifted-back events: the map has
    unit Jacobian.

    Args:
        x: events, shape (n, d), the resonant feature first.
        schema: of the events.
        strength: the fraction; negative shifts back.
        names: features to shift, in the unit of the resonant one.

    Returns:
        New events, float32, shape (n, d).

    Raises:
        ConfigError: a name is unknown, or is that of the resonant feature.

    Reference:
        Hallin et al. 2021 (2109.00546), the test with correlated features: m_J1 and Delta m_J are
        raised by 0.1 m_jj.
    """
    moved = np.array(x, dtype=np.float64)
    for name in names:
        if name not in schema.names[1:]:
            raise ConfigError(
                f"expected features beside the resonant one, of {', '.join(schema.names[1:])}; "
                f"got {name!r}"
            )
        moved[:, schema.names.index(name)] += strength * moved[:, 0]
    result: NDArray[np.float32] = moved.astype(np.float32)
    return result
