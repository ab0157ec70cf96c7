"""Who may import whom: read from the sources with ast, so that a breach fails before it runs."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LIBRARIES = {
    "streams": {"numpy", "msgpack", "msgspec", "zmq", "xxhash"},
    "replay": {
        "awkward",
        "cramjam",
        "fastjet",
        "h5py",
        "hdf5plugin",
        "httpx",
        "numpy",
        "pyarrow",
        "scipy",
        "sklearn",
        "uproot",
    },
    "onlineflows": {
        "cryptography",
        "equinox",
        "fastapi",
        "flowjax",
        "hist",
        "jax",
        "jinja2",
        "matplotlib",
        "mplhep",
        "nflows",
        "nicegui",
        "numpy",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "optax",
        "paramax",
        "prometheus_client",
        "pydantic",
        "pydantic_core",
        "rich",
        "river",
        "safetensors",
        "scipy",
        "sklearn",
        "starlette",
        "threadpoolctl",
        "torch",
        "triton",
        "typer",
        "uvicorn",
        "zuko",
    },
}
"""What each package may import besides the standard library and itself."""

PACKAGES = {"streams": set(), "replay": {"streams"}, "onlineflows": {"streams"}}
"""Which of the other packages a package may import."""

ONLY_IN = {
    "zmq": {
        "streams/transport.py",
        "streams/sockets.py",
        "streams/security.py",
        "streams/fault_proxy.py",
        "streams/console.py",
    },
    "httpx": {"replay/public/web.py"},
    "cryptography": {"onlineflows/online/signature.py"},
    "fastapi": {"onlineflows/live/server.py"},
    "nicegui": {
        f"onlineflows/live/{name}.py" for name in ("boxes", "page", "server", "side_by_side")
    },
    "prometheus_client": {"onlineflows/live/metrics.py", "onlineflows/live/server.py"},
    "starlette": {"onlineflows/live/guard.py"},
    "uvicorn": {"onlineflows/live/server.py"},
    "msgspec": {
        "streams/codec.py",
        "streams/messages.py",
        "streams/console_codec.py",
        "streams/control.py",
        "streams/telemetry.py",
    },
    "msgpack": {"streams/codec.py"},
    "river": {"onlineflows/adapters/river.py", "onlineflows/online/drift.py"},
    "sklearn": {
        "onlineflows/adapters/sklearn.py",
        "onlineflows/offline/classifier.py",
        "replay/sources/standin_fit.py",
    },
    "triton": {
        "onlineflows/flows/gpu/arithmetic_kernels.py",
        "onlineflows/flows/gpu/kernels.py",
        "onlineflows/flows/gpu/map_kernels.py",
        "onlineflows/flows/gpu/spline_kernels.py",
        "onlineflows/flows/gpu/step_kernels.py",
    },
    "typer": {"onlineflows/cli/main.py"},
    "onnx": {"onlineflows/export/onnx_file.py"},
    "onnxruntime": {"onlineflows/export/onnx_file.py"},
    "zuko": {"onlineflows/bench/zuko_peer.py"},
    "nflows": {"onlineflows/bench/nflows_peer.py"},
    "jax": {"onlineflows/bench/flowjax_peer.py"},
    "flowjax": {"onlineflows/bench/flowjax_peer.py", "onlineflows/bench/worker.py"},
}
"""Libraries that stay behind one border."""

ALSO_REPLAY = "onlineflows/cli/"
"""The one place where a process is put together."""

NO_TORCH = ("streams/", "replay/", "onlineflows/settings.py", "onlineflows/flows/spec.py")
"""What a producer loads, and the settings."""

PRODUCER = {"onlineflows.cli.main", "onlineflows.cli.replay"}
"""What the producer's process loads of the command line."""

NO_READER = {"awkward", "fastjet", "h5py", "hdf5plugin", "pyarrow", "tables", "uproot"}
ONLINE_ONLY = {f"onlineflows.online.{name}" for name in ("trainer", "consumer", "daemon", "buffer")}


def sources() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    )


@functools.cache
def imports(source: str) -> frozenset[str]:
    """The dotted names that a file imports anywhere, functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / source).read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative imports hide where a name comes from"
            names.add(str(node.module))
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def tops(source: str) -> set[str]:
    return {name.split(".")[0] for name in imports(source)}


def said_by(program: str) -> str:
    """What a program prints in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


@pytest.mark.parametrize("source", sources())
def test_a_file_imports_only_what_its_package_may(source: str) -> None:
    package = source.split("/")[0]
    allowed = LIBRARIES[package] | PACKAGES[package] | {package}
    if source.startswith(ALSO_REPLAY):
        allowed |= {"replay"}
    assert tops(source) - set(sys.stdlib_module_names) <= allowed


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_behind_its_border(library: str) -> None:
    users = {source for source in sources() if library in tops(source)}
    assert users <= ONLY_IN[library]


@pytest.mark.parametrize("source", [s for s in sources() if s.startswith(NO_TORCH)])
def test_a_producer_and_the_settings_never_import_torch(source: str) -> None:
    assert "torch" not in tops(source)


def test_everything_that_a_producer_process_loads_is_free_of_torch() -> None:
    modules = [s.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for s in sources()]
    loaded = [m for m in modules if m.startswith(("streams.", "replay.")) or m in PRODUCER]
    program = f"import sys, {', '.join(loaded)}; print('torch' in sys.modules)"
    assert said_by(program) == "False\n"


@pytest.mark.parametrize(
    ("adapters", "own"),
    [
        (("river",), ["river"]),
        (("sklearn",), ["sklearn"]),
        (("source_dataset", "stream_dataset", "distribution"), []),
    ],
)
def test_an_adapter_loads_no_other_projects_library(
    adapters: tuple[str, ...], own: list[str]
) -> None:
    modules = ", ".join(f"onlineflows.adapters.{name}" for name in adapters)
    program = (
        f"import sys, {modules}; print(sorted({{'river', 'sklearn', 'replay'}} & {{*sys.modules}}))"
    )
    assert said_by(program) == f"{own}\n"


@pytest.mark.parametrize("source", [s for s in sources() if s.startswith("onlineflows/offline/")])
def test_an_offline_method_reads_no_file_format_and_cannot_train(source: str) -> None:
    assert not tops(source) & NO_READER
    assert not imports(source) & ONLINE_ONLY


@pytest.mark.parametrize("source", [s for s in sources() if s.startswith("onlineflows/live/")])
def test_a_watcher_reads_no_events_and_cannot_train(source: str) -> None:
    assert not tops(source) & NO_READER
    assert not imports(source) & ONLINE_ONLY


def test_the_live_page_loads_no_library_of_the_learner_or_of_the_methods() -> None:
    libraries = {"scipy", "sklearn", "torch"}
    program = f"import sys, onlineflows.live.server; print(sorted({libraries} & {{*sys.modules}}))"
    assert said_by(program) == "[]\n"


@pytest.mark.parametrize("source", [s for s in sources() if not s.startswith("onlineflows/cli/")])
def test_only_the_command_line_prints(source: str) -> None:
    calls = [n for n in ast.walk(ast.parse((ROOT / source).read_text())) if isinstance(n, ast.Call)]
    assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_test_folder_shadows_a_package(package: str) -> None:
    assert not (ROOT / "tests" / package / "__init__.py").exists()
