"""What the fused kernel of the default flow compiles to, counted without a GPU.

``python tests/benchmarks/gpu_kernel_count.py`` compiles the kernel for some GPUs and tiles and
prints one JSON document: registers, spilled bytes, shared memory, and the machine instructions that
one warp issues for each event, loops weighted by their trips. Needs Triton, whose package brings
the assembler and the disassembler. From these counts follows a ceiling: a multiprocessor issues at
most four instructions per cycle.
"""

import json
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
from onlineflows.flows.gpu.kernels import gradient_kernel
from onlineflows.flows.gpu.packing import packed_shape

N_FEATURES = 5
SPEC = build_spec(FlowConfig(), N_FEATURES)
CASES = [
    (90, precision, tile) for precision in ("tf32x3", "tf32") for tile in (16, 32, 64, 128)
] + [(80, "tf32x3", 64), (120, "tf32x3", 64)]
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass(frozen=True)
class Count:
    """One compiled kernel.

    Args:
        capability: compute capability, times ten.
        precision: of matrix products.
        tile: events of a program.
        registers: per thread.
        spilled_nbytes: stack of a thread.
        shared_nbytes: shared memory of a program.
        instructions_per_event: issued by warps, for forward and backward of one event.
    """

    capability: int
    precision: str
    tile: int
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


def count(capability: int, precision: str, tile: int) -> Count:
    """Compiles one case and counts."""
    shape = packed_shape(SPEC)
    sizes = {
        "V": shape.variables,
        "D": N_FEATURES,
        "T": shape.targets,
        "BLOCKS": shape.blocks,
        "H": shape.hidden,
        "K": shape.bins,
        "E": tile,
        "PRECISION": precision,
    }
    names = gradient_kernel.arg_names
    aligned = [name for name in names if name.endswith("_ptr") or name == "n"]
    source = ASTSource(
        fn=gradient_kernel,
        signature={name: "constexpr" if name in sizes else _type(name) for name in names},
        constexprs={(names.index(name),): value for name, value in sizes.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": tile // 16, "num_stages": 1},
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
        tile,
        registers=int(found[1]),
        spilled_nbytes=int(found[2]),
        shared_nbytes=compiled.metadata.shared,
        instructions_per_event=round(_issued(code) / 16),
    )


def _type(name: str) -> str:
    if name == "table_ptr":
        return "*i32"
    if name.endswith("_ptr"):
        return "*fp32"
    return "i32" if name in {"n", "bins"} else "fp32"


def _dump(option: str, path: str) -> str:
    command = [str(TOOLS / "cuobjdump"), option, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _issued(code: str) -> int:
    """Instructions that a warp issues for one tile: its 16 events of it.

    Loops are backward branches. The outermost is over tiles; within it, loops that hold others are
    over blocks; all others are over features, variables or targets, of which there are as many
    as features here.
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
    total = 0
    for number in range(outermost[0], outermost[1] + 1):
        trips = 1
        for loop in loops:
            if loop != outermost and loop[0] <= number <= loop[1]:
                trips *= len(SPEC.blocks) if loop in holding else N_FEATURES
        total += trips
    return total


if __name__ == "__main__":
    main()
