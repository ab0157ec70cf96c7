"""What the fused kernel of the default flow compiles to, counted without a GPU.

``python tests/benchmarks/gpu_kernel_count.py`` compiles the kernel for some GPUs and tiles and
prints one JSON document: registers, spilled bytes, shared memory, and the machine instructions that
one warp issues for each event, loops weighted by their trips. Needs Triton, whose package brings
the assembler and the disassembler. From these counts follows a ceiling: a multiprocessor issues at
most four instructions per cycle.
"""

import json
import math
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from onlineflows.flows import FlowConfig, build_spec
from onlineflows.flows.gpu.fused import Precision, Tiling, kernel_sizes
from onlineflows.flows.gpu.kernels import gradient_kernel
from onlineflows.flows.gpu.packing import COLUMNS_AT_ONCE, packed_shape

N_FEATURES = 5
SPEC = build_spec(FlowConfig(), N_FEATURES)
CASES: list[tuple[int, Precision, Tiling]] = [
    (90, precision, Tiling(events, warps))
    for precision in ("tf32x3", "tf32")
    for events, warps in ((16, 4), (32, 4), (64, 4), (64, 8), (128, 8))
] + [(80, "tf32x3", Tiling()), (120, "tf32x3", Tiling())]
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass(frozen=True)
class Count:
    """One compiled kernel.

    Args:
        capability: compute capability, times ten.
        precision: of matrix products.
        tiling: how mini-batches are cut.
        registers: per thread.
        spilled_nbytes: stack of a thread.
        shared_nbytes: shared memory of a program.
        instructions_per_event: issued by warps, for forward and backward of one event.
    """

    capability: int
    precision: str
    tiling: Tiling
    registers: int
    spilled_nbytes: int
    shared_nbytes: int
    instructions_per_event: float


def main() -> None:
    """Compiles and prints."""
    document = {
        "triton": triton.__version__,
        "flow": asdict(FlowConfig()),
        "kernels": [asdict(count(*case)) for case in CASES],
    }
    json.dump(document, sys.stdout, indent=1)


def count(capability: int, precision: Precision, tiling: Tiling) -> Count:
    """Compiles one case and counts."""
    sizes = kernel_sizes(SPEC, tiling, precision) | {"WEIGHTED": False}
    names = gradient_kernel.arg_names
    aligned = [name for name in names if name.endswith("_ptr")]
    source = ASTSource(
        fn=gradient_kernel,
        signature={name: "constexpr" if name in sizes else _type(name) for name in names},
        constexprs={(names.index(name),): value for name, value in sizes.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": tiling.warps, "num_stages": 1},
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage, code = (_dump(option, file.name) for option in ("-res-usage", "-sass"))
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"expected a line of resources from cuobjdump; got {usage!r}")
    return Count(
        capability,
        precision,
        tiling,
        registers=int(found[1]),
        spilled_nbytes=int(found[2]),
        shared_nbytes=compiled.metadata.shared,
        instructions_per_event=round(_issued(code) * tiling.warps / tiling.events),
    )


def _type(name: str) -> str:
    if name == "table_ptr":
        return "*i32"
    if name.endswith("_ptr"):
        return "*fp32"
    return "i32" if name == "n" else "fp32"


def _dump(option: str, path: str) -> str:
    command = [str(TOOLS / "cuobjdump"), option, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _issued(code: str) -> int:
    """Instructions that a warp issues for one tile.

    Loops are backward branches. The outermost is over tiles; within it, loops that hold others are
    over blocks, those with matrix products over stretches of columns, all others over bins.
    """
    lines = re.findall(r"^\s+/\*([0-9a-f]{4,5})\*/\s+(.*?);", code, re.MULTILINE)
    places = {int(address, 16): number for number, (address, _) in enumerate(lines)}
    loops = []
    for number, (_, text) in enumerate(lines):
        target = re.search(r"\bBRA(?:\.\w+)*\s.*?0x([0-9a-f]+)", text)
        if target and places.get(int(target[1], 16), number) < number:
            loops.append((places[int(target[1], 16)], number))
    outermost = max(loops, key=lambda loop: loop[1] - loop[0])
    holding = {a for a in loops for b in loops if a != b and a[0] <= b[0] and b[1] <= a[1]}

    def trips(loop: tuple[int, int]) -> int:
        if loop in holding:
            return len(SPEC.blocks)
        multiplies = any("MMA" in text for _, text in lines[loop[0] : loop[1]])
        return packed_shape(SPEC).columns // COLUMNS_AT_ONCE if multiplies else SPEC.bins

    inner = [loop for loop in loops if loop != outermost]
    return sum(
        math.prod(trips(loop) for loop in inner if loop[0] <= number <= loop[1])
        for number in range(outermost[0], outermost[1] + 1)
    )


if __name__ == "__main__":
    main()
