"""From events in physical units to the flow's coordinates and back, with exact Jacobians.

Two stages: the fixed physical support of the schema (`support`), then a marginal map fitted on
the first events and frozen (`marginal`). numpy in float64; no torch.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import SnapshotError
from onlineflows.marginal import MarginalMap
from onlineflows.support import support_map
from streams import EventSchema

Array = NDArray[np.float64]

CHUNK_EVENTS = 4096
"""Events that are mapped at a time, so that intermediate arrays stay in the cache."""


class Preprocessing:
    """The map between events x and the flow's coordinates z.

    Args:
        schema: names the features and their supports.
        marginal: the frozen second stage.
    """

    def __init__(self, schema: EventSchema, marginal: MarginalMap) -> None:
        self.schema = schema
        self.marginal = marginal
        self.supports = [support_map(feature) for feature in schema.features]
        """The first stage, feature by feature."""

    @classmethod
    def fit(cls, schema: EventSchema, x: NDArray[np.floating[Any]], *, knots: int) -> Self:
        """Fits the marginal map to events.

        Args:
            schema: names the features and their supports.
            x: events inside the support, shape (n, d), in the schema's units.
            knots: knots of each feature's map.

        Raises:
            DataError: there are no events, or some outside the support.
        """
        columns = np.ascontiguousarray(x.T, dtype=np.float64)
        supports = [support_map(feature) for feature in schema.features]
        # Outside the support the logarithms are NaN or infinite; the fit refuses them.
        with np.errstate(invalid="ignore", divide="ignore"):
            pairs = zip(supports, columns, strict=True)
            v = np.stack([support.forward(column) for support, column in pairs])
        return cls(schema, MarginalMap.fit(v, knots))

    def forward(self, x: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
        """Returns z and, feature by feature, log |∂z_i/∂x_i|.

        Args:
            x: events inside the support, shape (n, d), in the schema's units.

        Returns:
            Two float64 arrays of shape (n, d).
        """
        z = np.empty(x.shape)
        log_abs_det = np.empty(x.shape)
        for rows in _chunks(len(x)):
            columns = np.ascontiguousarray(x[rows].T, dtype=np.float64)
            z_columns, log_slope = self.marginal.forward(self._to_line(columns))
            for support, column, total in zip(self.supports, columns, log_slope, strict=True):
                total += support.log_slope(column)
            z[rows] = z_columns.T
            log_abs_det[rows] = log_slope.T
        return z, log_abs_det

    def inverse(self, z: NDArray[np.floating[Any]]) -> Array:
        """Returns the events x, shape (n, d), float64, in the schema's units.

        All are inside the support, or infinite where an unbounded feature overflows: values of z
        beyond the image of an edge end up on it.
        """
        x = np.empty(z.shape)
        for rows in _chunks(len(z)):
            v = self.marginal.inverse(np.ascontiguousarray(z[rows].T, dtype=np.float64))
            for place, support in enumerate(self.supports):
                x[rows, place] = support.inverse(v[place])
        return x

    def to_arrays(self) -> dict[str, Array]:
        """Returns the marginal map as named float64 arrays of a fixed shape (d, knots)."""
        return {"v": self.marginal.v, "z": self.marginal.z, "slope": self.marginal.slope}

    @classmethod
    def from_arrays(
        cls, schema: EventSchema, arrays: Mapping[str, NDArray[np.floating[Any]]]
    ) -> Self:
        """Returns the preprocessing that `to_arrays` described.

        Raises:
            SnapshotError: the arrays aren't a marginal map of this schema.
        """
        expected = {"v", "z", "slope"}
        shapes = {a.shape for a in arrays.values()}
        shape = next(iter(shapes), ())
        if set(arrays) != expected or len(shapes) != 1 or shape[:1] != (schema.n_features,):
            got = {name: array.shape for name, array in arrays.items()}
            raise SnapshotError(
                f"expected a marginal map of arrays {sorted(expected)}, each of shape "
                f"({schema.n_features}, knots); got {got}"
            )
        v, z, slope = (np.asarray(arrays[k], dtype=np.float64) for k in ("v", "z", "slope"))
        if (np.diff(v) < 0).any() or (np.diff(z) < 0).any() or not (slope > 0).all():
            raise SnapshotError("expected a marginal map that increases; got one that doesn't")
        return cls(schema, MarginalMap(v, z, slope))

    def _to_line(self, columns: Array) -> Array:
        """Returns v of both shapes (d, n)."""
        v = np.empty_like(columns)
        for support, column, out in zip(self.supports, columns, v, strict=True):
            out[:] = support.forward(column)
        return v


def _chunks(n: int) -> Iterator[slice]:
    """Yields slices that cover n events."""
    return (slice(i, i + CHUNK_EVENTS) for i in range(0, n, CHUNK_EVENTS))
