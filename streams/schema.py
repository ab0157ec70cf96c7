"""What an event is: ordered features with units and physical support, the resonant one first."""

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streams.errors import SchemaError


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of an event.

    Args:
        name: the column's name, unique in its schema.
        unit: its unit as printed on an axis; empty for a pure number.
        low: lower end of the physical support, in that unit; may be -inf.
        high: upper end of the physical support; may be +inf.

    Raises:
        SchemaError: the name is empty or the support is empty or not a number.
    """

    name: str
    unit: str
    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if not self.name:
            raise SchemaError("expected a feature with a name; got an empty string")
        if not self.low < self.high:
            raise SchemaError(
                f"feature {self.name!r}: expected low < high; got low={self.low}, high={self.high}"
            )

    @property
    def label(self) -> str:
        """The name with its unit, as an axis label: ``mjj [TeV]``."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class EventSchema:
    """The ordered features of an event; the first is the resonant variable m.

    The schema travels in the begin-of-run message and in every snapshot; its fingerprint is
    in every header, so that a learner can never be fed columns that it doesn't expect.

    Example:
        >>> schema = EventSchema((Feature("mjj", "TeV", 0, 13), Feature("tau21", "", 0, 2)))
        >>> schema.names
        ('mjj', 'tau21')
        >>> schema == EventSchema.from_dict(schema.to_dict())
        True
    """

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise SchemaError("expected at least one feature; got none")
        repeated = [name for name, n in Counter(self.names).items() if n > 1]
        if repeated:
            raise SchemaError(f"expected distinct feature names; repeated: {sorted(repeated)}")

    @property
    def n_features(self) -> int:
        """Number of features d."""
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(f.name for f in self.features)

    @property
    def resonant(self) -> Feature:
        """The feature in which a resonance is searched for: the first."""
        return self.features[0]

    @property
    def event_nbytes(self) -> int:
        """Bytes of one event on the wire: 4 per feature."""
        return 4 * self.n_features

    @property
    def low(self) -> NDArray[np.float64]:
        """Lower ends of the supports, shape (d,)."""
        return np.array([f.low for f in self.features])

    @property
    def high(self) -> NDArray[np.float64]:
        """Upper ends of the supports, shape (d,)."""
        return np.array([f.high for f in self.features])

    def in_support(self, x: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Returns which events are finite and inside every feature's closed support.

        Args:
            x: features, shape (n, d), in the schema's units.

        Returns:
            Mask of shape (n,).
        """
        inside: NDArray[np.bool_] = np.ones(len(x), dtype=np.bool_)
        for column, feature in enumerate(self.features):
            values = x[:, column]
            # NaN compares false; infinities are refused even where the support is unbounded.
            inside &= (values >= feature.low) & (values <= feature.high) & np.isfinite(values)
        return inside

    def to_dict(self) -> dict[str, Any]:
        """Returns the schema as plain JSON types; infinite supports become null."""
        return {
            "features": [
                {
                    "name": f.name,
                    "unit": f.unit,
                    "low": f.low if math.isfinite(f.low) else None,
                    "high": f.high if math.isfinite(f.high) else None,
                }
                for f in self.features
            ]
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Returns the schema that `to_dict` described.

        Raises:
            SchemaError: the document isn't a schema.
        """
        try:
            return cls(
                tuple(
                    Feature(
                        name=str(f["name"]),
                        unit=str(f["unit"]),
                        low=-math.inf if f["low"] is None else float(f["low"]),
                        high=math.inf if f["high"] is None else float(f["high"]),
                    )
                    for f in document["features"]
                )
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SchemaError(
                f"expected a schema document with features of name, unit, low, high; got {error!r}"
            ) from error

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the canonical JSON form, as 64 hexadecimal digits."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def require_equal(self, other: Self, *, where: str) -> None:
        """Raises SchemaError, naming the first difference, unless the two schemas are equal.

        Args:
            other: the schema that was found.
            where: where it was found, for the message.
        """
        if self == other:
            return
        if self.n_features != other.n_features:
            detail = (
                f"expected {self.n_features} features {list(self.names)}; "
                f"got {other.n_features} {list(other.names)}"
            )
        else:
            mine, theirs = next(
                (a, b) for a, b in zip(self.features, other.features, strict=True) if a != b
            )
            detail = f"expected {mine}; got {theirs}"
        raise SchemaError(f"{where}: the schemas differ: {detail}")


LHCO = EventSchema(
    (
        Feature("mjj", "TeV", 0.0, 14.0),
        Feature("mJ1", "TeV", 0.0, 7.0),
        Feature("dmJ", "TeV", 0.0, 7.0),
        Feature("tau21J1", "", 0.0, 2.0),
        Feature("tau21J2", "", 0.0, 2.0),
    )
)
"""The dijet observables of the LHC Olympics: J1 is the lighter of the two leading jets,
dmJ = mJ2 - mJ1 >= 0, tau21 = tau2 / tau1 (2109.00546, section 2)."""
