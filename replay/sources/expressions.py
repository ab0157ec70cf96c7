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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replay.sources.evaluation import (
    ARITHMETIC,
    COMPARISONS,
    ELEMENTWISE,
    OF_PARTICLES,
    PARTICLE_FIELDS,
    REDUCTIONS,
    Column,
    Evaluation,
    is_jagged,
)
from streams import InputError
from streams.errors import nearest

MAX_LENGTH = 1000
"""Longest expression in characters; keeps a malformed configuration from exhausting a parser."""

MAX_INDEX = 2**31
"""Index that no list reaches."""


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
        >>> import awkward as ak
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
        except SyntaxError as error:
            raise InputError(
                "expected an expression like 'Muon_pt[0] > 20 and MET < 50'; got "
                f"{_blunder(error)}; in {self._where}"
            ) from error
        except (ValueError, RecursionError, MemoryError) as error:
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
        evaluation = Evaluation(columns, np.zeros(n, dtype=np.bool_), self._where)
        try:
            with np.errstate(all="ignore"):  # what isn't finite is reported event by event
                result = evaluation.value(self._tree)
        except (ValueError, TypeError) as error:
            detail = next(iter(str(error).strip().splitlines()), repr(error))
            raise InputError(
                f"expected lists of equal lengths; got {detail!r}; in {self._where}"
            ) from error
        if is_jagged(result):
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


def _blunder(error: SyntaxError) -> str:
    """What is wrong with a text, for those who think in C++."""
    text = error.text or ""
    for sign, word in (("&&", "and"), ("||", "or"), ("!", "not")):
        if sign in text.replace("!=", ""):
            return f"{sign}: write {word!r}"
    return f"{error.msg} at character {error.offset}"
