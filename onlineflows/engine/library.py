"""The compiled engine's shared library: found, loaded and described, or explained away.

The library has a plain C interface (csrc/engine.h) and is called through ctypes: it doesn't depend
on Python's version, needs nothing but a C++ compiler to build, and a small C++ program can run the
same entry points under sanitizers.
"""

import ctypes
import functools
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

INTERFACE = 1
"""ENGINE_INTERFACE of the csrc/engine.h that this module was written for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine uses on this machine, and why.

    Args:
        isa: instruction set in use, "none" without the library.
        threads: cores that this process may use.
        bfloat16: whether gradients can be computed with bfloat16 products.
        path: the shared library, or None.
        reason: one line: why these, or why there's no engine.
    """

    isa: str
    threads: int
    bfloat16: bool
    path: Path | None
    reason: str


class EngineOptions(ctypes.Structure):
    """engine_options of csrc/engine.h."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        ("bfloat16", ctypes.c_int32),
        ("deterministic", ctypes.c_int32),
    )


def library_path() -> Path:
    """Returns where the library is expected: ONLINEFLOWS_ENGINE, or in this package.

    An editable install gives the package two folders: this one, and one with what was built.
    """
    named = os.environ.get("ONLINEFLOWS_ENGINE")
    if named:
        return Path(named)
    suffix = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
    prefix = "" if sys.platform == "win32" else "lib"
    name = f"{prefix}onlineflows_engine.{suffix}"
    places = [Path(folder) / name for folder in sys.modules[__package__].__path__]
    return next((place for place in places if place.exists()), Path(__file__).with_name(name))


@functools.cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """Returns the library, or None and the reason; logs once which of the two."""
    path = library_path()
    library, reason = _open(path)
    if library is None:
        _log.warning("engine=none reason=%r: flows run in torch, several times slower", reason)
    else:
        _log.info("engine=%s path=%s", library.engine_isa().decode(), path)
    return library, reason


def describe() -> EngineInfo:
    """Returns what a flow that is made now would use."""
    library, reason = load()
    threads = _usable_cores()
    if library is None:
        return EngineInfo("none", threads, bfloat16=False, path=None, reason=reason)
    known = library.engine_available_isas().decode()
    wish = os.environ.get("ONLINEFLOWS_ISA")
    isa = library.engine_isa().decode()
    reason = f"best of {known}" if not wish else f"ONLINEFLOWS_ISA={wish}, of {known}"
    if wish and wish != isa:
        reason = f"ONLINEFLOWS_ISA={wish} isn't one of {known}: the best of them"
    bfloat16 = bool(library.engine_has_bfloat16())
    if not bfloat16:
        reason += "; no bfloat16 products: they run in float32"
    return EngineInfo(isa, threads, bfloat16=bfloat16, path=library_path(), reason=reason)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open(path: Path) -> tuple[ctypes.CDLL | None, str]:
    if not path.exists():
        return None, f"no compiled engine at {path}: it was installed without a C++ compiler"
    try:
        library = ctypes.CDLL(str(path))
        library.engine_interface.restype = ctypes.c_int32
        found = library.engine_interface()
    except (OSError, AttributeError) as error:
        return None, f"the compiled engine at {path} can't be loaded: {error}"
    if found != INTERFACE:
        return None, f"{path} has interface {found}, expected {INTERFACE}: reinstall the package"
    _declare(library)
    return library, ""


def _declare(library: ctypes.CDLL) -> None:
    """Tells ctypes the types of csrc/engine.h."""
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    options = ctypes.POINTER(EngineOptions)
    for name in ("engine_error", "engine_isa", "engine_available_isas"):
        getattr(library, name).restype = ctypes.c_char_p
    library.engine_has_bfloat16.restype = ctypes.c_int32
    library.engine_new.restype = pointer
    library.engine_new.argtypes = [pointer, count, ctypes.c_double]
    library.engine_free.argtypes = [pointer]
    library.engine_n_parameters.restype = count
    library.engine_n_parameters.argtypes = [pointer]
    for suffix in ("f32", "f64"):
        batch = [pointer] * 4  # engine, theta, events, context
        functions = {
            "gradient": [*batch, pointer, count, count, pointer, pointer, options],
            "forward": [*batch, count, pointer, pointer, options],
            "inverse": [*batch, count, pointer, options],
        }
        for name, argtypes in functions.items():
            function = getattr(library, f"engine_{name}_{suffix}")
            function.restype = ctypes.c_int32
            function.argtypes = argtypes
        for name in ("schedule_free", "adam"):
            function = getattr(library, f"engine_{name}_{suffix}")
            function.restype = None
            function.argtypes = [count, *[pointer] * 5]
