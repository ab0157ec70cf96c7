"""What a ROOT file holds: its trees, and which of their branches expressions can use."""

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from replay.sources.tree import Tree, tree_names

PLAIN = r"(std::)?(u?int\d+_t|float|double|bool|u?int|u?char|byte)"
NUMBER = re.compile(rf"{PLAIN}|ROOT::RNTupleCardinality<{PLAIN}>")
LIST = re.compile(r"(?:std::vector|ROOT::VecOps::RVec)<(.*)>|(.*?)\[\d*\]")


@dataclass(frozen=True, slots=True)
class TreeContents:
    """One tree or RNTuple.

    Args:
        name: as `source.tree` wants it.
        n_events: its rows.
        numbers: branches with one number per event.
        lists: branches with a list of numbers per event.
    """

    name: str
    n_events: int
    numbers: tuple[str, ...]
    lists: tuple[str, ...]


def contents(path: Path) -> tuple[TreeContents, ...]:
    """Returns what a ROOT file holds; branches under the names that expressions use.

    Branches of other types (text, objects) are left out, since expressions can't use them.

    Raises:
        InputError: not a ROOT file, or damaged.
    """
    return tuple(_contents(path, name) for name in tree_names(path))


def _contents(path: Path, name: str) -> TreeContents:
    with closing(Tree(path, name)) as tree:
        kinds = {branch: kind_of(type_name) for branch, type_name in tree.type_names().items()}
        return TreeContents(
            name,
            tree.n_rows,
            tuple(sorted(branch for branch, kind in kinds.items() if kind == "number")),
            tuple(sorted(branch for branch, kind in kinds.items() if kind == "list")),
        )


def kind_of(type_name: str) -> str:
    """Returns whether a branch of a C++ type holds a "number", a "list" of them, or "other".

    Example:
        >>> [kind_of(t) for t in ("float", "std::uint32_t", "double[]", "std::vector<bool>")]
        ['number', 'number', 'list', 'list']
        >>> [kind_of(t) for t in ("char*", "std::vector<std::vector<float>>")]
        ['other', 'other']
    """
    if NUMBER.fullmatch(type_name):
        return "number"
    inner = LIST.fullmatch(type_name)
    is_list = inner is not None and NUMBER.fullmatch(inner[1] or inner[2] or "")
    return "list" if is_list else "other"
