# mypy: ignore-errors
"""Arithmetic of the kernels, in Triton: TF32 products, and functions that are one instruction."""

import os

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Triton's interpreter has no machine instructions."""


@triton.jit
def leading(values):
    """The part of float32 numbers that TF32 holds, cut off after 10 bits."""
    return (values.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def rounded(values):
    """Float32 numbers that TF32's matrix units, which cut off after 10 bits, take as rounded."""
    found = (values.to(tl.int32, bitcast=True) + 4096).to(tl.float32, bitcast=True)
    if INTERPRETED:
        found = leading(found)
    return found


@triton.jit
def product(a, b, onto, PRECISION: tl.constexpr):
    """Returns onto + a b, [., .]. "tf32x3" leaves out only what both factors have beyond TF32.

    Triton's own product of that name also treats infinities, which are refused here anyway.
    """
    if PRECISION == "tf32x3":
        a_0, b_0 = leading(a), leading(b)
        onto = tl.dot(a - a_0, b_0, acc=onto, input_precision="tf32")
        onto = tl.dot(a_0, b - b_0, acc=onto, input_precision="tf32")
        onto = tl.dot(a_0, b_0, acc=onto, input_precision="tf32")
    elif PRECISION == "tf32":
        onto = tl.dot(rounded(a), rounded(b), acc=onto, input_precision="tf32")
    else:
        onto = tl.dot(a, b, acc=onto, input_precision="ieee")
    return onto


@triton.jit
def reciprocal(x):
    """1 / x to the last place but one; the language's division takes eight instructions."""
    if INTERPRETED:
        y = 1.0 / x
    else:
        y = tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return y


@triton.jit
def exp_2(x):
    """2 to the power of x, to two units in the last place; 0 below 2 to the power of -126."""
    if INTERPRETED:
        y = tl.exp2(x)
    else:
        y = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return y


@triton.jit
def log_2(x):
    """Logarithm to the base 2, to 2e-7 of itself or of 1; the language's is a polynomial."""
    if INTERPRETED:
        y = tl.log2(x)
    else:
        y = tl.inline_asm_elementwise(
            "lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return y
