"""Small expressions over the branches of an event: parsed once, evaluated on whole chunks.

What an expression may hold:

========================  ==================================================================
``MR``                    a branch with one number per event
``Muon_pt[0]``            an element of a list; -1 is the last. An event that has too few
                          elements isn't selected
``+ - * / **``            arithmetic, on numbers and element by element on lists
``< <= > >= == !=``       comparisons, 1 or 0; ``and``, ``or``, ``not``
``sqrt log exp abs``      functions of a number or of each element; also ``sin cos sinh cosh``
``sum count min max``     of a list, per event: ``sum(Jet_pt * (Jet_pt > 30))``; min and max of
                          an empty list don't exist and the event isn't selected; min and max
                          of several arguments compare them
``mass(Muon[0], ...)``    invariant mass of particles, from ``Muon_pt``, ``_eta``, ``_phi`` and
                          ``_mass``
``delta_r(Jet[0], X[1])`` distance of two particles in (eta, phi)
========================  ==================================================================

The text is parsed with Python's `ast` and only the above is evaluated; it's never executed.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from streams import InputError
from streams.errors import nearest

Column = Any
"""One branch of a chunk: a float64 array of shape (n,), or an awkward array of n lists."""

MAX_LENGTH = 1000
"""Longest expression in characters; keeps a malformed configuration from exhausting a parser."""

MAX_INDEX = 2**31
"""Index that no list reaches."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """An expression's values on a chunk.

    Args:
        values: one number per event, shape (n,), float64; NaN where missing.
        missing: events in which an element that the expression needs doesn't exist, shape (n,).
    """

    values: NDArray[np.float64]
    missing: NDArray[np.bool_]


class Expression:
    """One parsed expression.

    Args:
        text: the expression.
        where: where it stands, for messages: ``source.features 'mjj'``.

    Raises:
        InputError: it isn't an expression, or holds what isn't allowed.

    Example:
        >>> ratio = Expression("MET / sum(Jet_pt)", where="here")
        >>> sorted(ratio.branches)
        ['Jet_pt', 'MET']
        >>> columns = {"MET": np.array([30.0]), "Jet_pt": ak.Array([[40.0, 20.0]])}
        >>> ratio.evaluate(columns, 1).values.tolist()
        [0.5]
    """

    def __init__(self, text: str, *, where: str) -> None:
        self.text = text
        self._where = f"expression {text[:80]!r} of {where}"
        if not text.strip() or len(text) > MAX_LENGTH:
            raise InputError(
                f"expected an expression of 1 to {MAX_LENGTH} characters; got {len(text)}; "
                f"in {where}"
            )
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
            branches: set[str] = set()
            self._check(self._tree, branches)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise InputError(
                f"expected an expression like 'Muon_pt[0]'; got {error}; in {self._where}"
            ) from error
        self.branches = frozenset(branches)

    def evaluate(self, columns: Mapping[str, Column], n: int) -> Evaluated:
        """Returns the values on a chunk of n events.

        Args:
            columns: at least the expression's `branches`.
            n: events in the chunk.

        Raises:
            InputError: the result is a list per event, or lists of different lengths meet.
        """
        evaluation = _Evaluation(columns, np.zeros(n, dtype=np.bool_), self._where)
        try:
            with np.errstate(all="ignore"):  # what isn't finite is reported event by event
                result = evaluation.value(self._tree)
        except (ValueError, TypeError) as error:
            detail = next(iter(str(error).strip().splitlines()), repr(error))
            raise InputError(
                f"expected lists of equal lengths; got {detail!r}; in {self._where}"
            ) from error
        if _is_jagged(result):
            raise InputError(
                f"expected one number per event; got a list per event; in {self._where}; "
                f"take an element, as in Jet_pt[0], or sum, count, min or max"
            )
        values = np.array(np.broadcast_to(np.asarray(result, dtype=np.float64), (n,)))
        values[evaluation.missing] = np.nan
        return Evaluated(values, evaluation.missing)

    def _check(self, node: ast.expr, branches: set[str]) -> None:
        """Walks the tree once, refusing what isn't allowed and collecting the branches."""
        children: list[ast.expr] = []
        match node:
            case ast.Constant(value=bool() | int() | float()):
                pass
            case ast.Name(id=name):
                branches.add(name)
            case ast.BinOp(op=op) if type(op) in ARITHMETIC:
                children = [node.left, node.right]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
                children = [node.operand]
            case ast.BoolOp():
                children = list(node.values)
            case ast.Compare(ops=ops) if all(type(op) in COMPARISONS for op in ops):
                children = [node.left, *node.comparators]
            case ast.Subscript():
                self._index(node)
                children = [node.value]
            case ast.Call(func=ast.Name(id=function), keywords=[]):
                children = self._check_call(function, node, branches)
            case _:
                raise self._refuse(node, "that isn't allowed")
        for child in children:
            self._check(child, branches)

    def _check_call(self, function: str, node: ast.Call, branches: set[str]) -> list[ast.expr]:
        known = (*ELEMENTWISE, *REDUCTIONS, *OF_PARTICLES)
        if function not in known:
            raise self._refuse(node, f"no such function; {nearest(function, known)}")
        n = len(node.args)
        if function in OF_PARTICLES:
            if n == 0 or (function == "delta_r" and n != 2):
                raise self._refuse(node, "expected particles, two for delta_r")
            for argument in node.args:
                match argument:
                    case ast.Subscript(value=ast.Name(id=collection)):
                        self._index(argument)
                        branches |= {f"{collection}_{name}" for name in PARTICLE_FIELDS}
                    case _:
                        raise self._refuse(argument, "expected a particle, as in Muon[0]")
            return []
        if n != 1 and not (function in ("min", "max") and n > 1):
            raise self._refuse(node, "expected one argument")
        return list(node.args)

    def _index(self, node: ast.Subscript) -> int:
        match node.slice:
            case ast.Constant(value=int() as index) if index < MAX_INDEX:
                return index
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as index)) if (
                index < MAX_INDEX
            ):
                return -index
        raise self._refuse(node, "expected a whole number as index")

    def _refuse(self, node: ast.expr, why: str) -> InputError:
        return InputError(
            f"expected branches, numbers, + - * / **, comparisons, and/or/not and functions; got "
            f"{ast.unparse(node)[:60]!r} ({why}); in {self._where}"
        )


@dataclass(slots=True)
class _Evaluation:
    """One walk over a checked tree; remembers where an element was missing."""

    columns: Mapping[str, Column]
    missing: NDArray[np.bool_]
    where: str

    def value(self, node: ast.expr) -> Any:
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
        if not _is_jagged(array):
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
        if not _is_jagged(array):
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
    numbers: NDArray[np.float64] = ak.to_numpy(array).astype(np.float64)
    return numbers


def _is_jagged(value: Any) -> bool:
    return isinstance(value, ak.Array)
