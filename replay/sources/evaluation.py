"""The evaluation of an expression's tree on a chunk of events, vectorised over the events.

Awkward is loaded for lists only: an expression over a schema's features has none.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams import InputError

Column = Any
"""One branch of a chunk: a float64 array of shape (n,), or an awkward array of n lists."""

ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "sqrt": np.sqrt,
    "log": np.log,
    "exp": np.exp,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "sinh": np.sinh,
    "cosh": np.cosh,
}
REDUCTIONS = ("sum", "count", "min", "max")
OF_PARTICLES = ("mass", "delta_r")
PARTICLE_FIELDS = ("pt", "eta", "phi", "mass")


@dataclass(slots=True)
class Evaluation:
    """One walk over a tree that `replay.sources.expressions` has checked.

    Args:
        columns: the chunk's branches.
        missing: set where an event lacks an element that is asked for, shape (n,).
        where: what is evaluated, for messages.
    """

    columns: Mapping[str, Column]
    missing: NDArray[np.bool_]
    where: str

    def value(self, node: ast.expr) -> Any:
        """Returns a node's value: a number, one per event, or a list per event."""
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return np.float64(number)
            case ast.Name(id=name):
                return self.columns[name]
            case ast.BinOp(left=left, op=op, right=right):
                return ARITHMETIC[type(op)](self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return np.logical_not(self.value(operand)) * 1.0
            case ast.UnaryOp(op=op, operand=operand):
                value = self.value(operand)
                return -value if isinstance(op, ast.USub) else value
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                result = self.value(values[0])
                for other in values[1:]:
                    result = join(result, self.value(other))
                return result * 1.0
            case ast.Compare():
                return self._compare(node)
            case ast.Subscript(value=value):
                return self._element(self.value(value), _index_of(node))
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self._call(function, arguments)
        raise InputError(f"expected a checked expression; got {ast.dump(node)}; in {self.where}")

    def _compare(self, node: ast.Compare) -> Any:
        result: Any = None
        left = self.value(node.left)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator)
            held = COMPARISONS[type(op)](left, right) * 1.0  # so that a sum counts them
            result = held if result is None else result * held
            left = right
        return result

    def _call(self, function: str, arguments: list[ast.expr]) -> Any:
        if function in OF_PARTICLES:
            particles = [self._particle(a) for a in arguments if isinstance(a, ast.Subscript)]
            return invariant_mass(particles) if function == "mass" else delta_r(*particles)
        if function in ELEMENTWISE:
            return ELEMENTWISE[function](self.value(arguments[0]))
        values = [self.value(argument) for argument in arguments]
        if len(values) > 1:
            combine = np.minimum if function == "min" else np.maximum
            result = values[0]
            for other in values[1:]:
                result = combine(result, other)
            return result
        return self._reduce(function, values[0])

    def _reduce(self, function: str, array: Any) -> NDArray[np.float64]:
        import awkward as ak

        if not is_jagged(array):
            raise InputError(
                f"expected a list per event in {function}(); got one number; in {self.where}"
            )
        if function == "count":
            return _as_float64(ak.num(array))
        if function == "sum":
            return _as_float64(ak.sum(array, axis=1))
        self.missing |= ak.to_numpy(ak.num(array)) == 0
        extremum = (ak.min if function == "min" else ak.max)(array, axis=1)
        return _as_float64(ak.fill_none(extremum, np.nan))

    def _element(self, array: Any, index: int) -> NDArray[np.float64]:
        if not is_jagged(array):
            raise InputError(
                f"expected a list per event before [{index}]; got one number; in {self.where}"
            )
        values, present = elements(array, index)
        self.missing |= ~present
        return values

    def _particle(self, node: ast.Subscript) -> dict[str, NDArray[np.float64]]:
        index = _index_of(node)
        collection = ast.unparse(node.value)
        return {
            name: self._element(self.columns[f"{collection}_{name}"], index)
            for name in PARTICLE_FIELDS
        }


def elements(array: Any, index: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns one element of each event's list, NaN where it's missing, and where it's present.

    Args:
        array: n lists of numbers.
        index: which element; negative ones count from the end.
    """
    import awkward as ak

    counts = ak.to_numpy(ak.num(array)).astype(np.int64)
    flat = _as_float64(ak.flatten(array))
    ends = np.cumsum(counts)
    present = counts > index if index >= 0 else counts >= -index
    place = (ends - counts if index >= 0 else ends) + index
    values = np.full(len(counts), np.nan)
    values[present] = flat[place[present]]
    return values, present


def invariant_mass(particles: list[dict[str, NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Returns the invariant mass of particles with pt, eta, phi, mass; in their unit."""
    px = sum(p["pt"] * np.cos(p["phi"]) for p in particles)
    py = sum(p["pt"] * np.sin(p["phi"]) for p in particles)
    pz = sum(p["pt"] * np.sinh(p["eta"]) for p in particles)
    energy = sum(np.hypot(p["pt"] * np.cosh(p["eta"]), p["mass"]) for p in particles)
    mass: NDArray[np.float64] = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0))
    return mass


def delta_r(
    first: dict[str, NDArray[np.float64]], second: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Returns sqrt(d eta^2 + d phi^2) of two particles, with d phi in [-pi, pi]."""
    d_phi = np.remainder(first["phi"] - second["phi"] + np.pi, 2.0 * np.pi) - np.pi
    distance: NDArray[np.float64] = np.hypot(first["eta"] - second["eta"], d_phi)
    return distance


def _index_of(node: ast.Subscript) -> int:
    return int(ast.literal_eval(node.slice))


def _as_float64(array: Any) -> NDArray[np.float64]:
    import awkward as ak

    numbers: NDArray[np.float64] = ak.to_numpy(array).astype(np.float64)
    return numbers


def is_jagged(value: Any) -> bool:
    """Returns whether a value is a list per event."""
    return not isinstance(value, np.ndarray | np.generic)
