// Compiler attributes and the constants that all translation units share.
#pragma once

#include <cstdint>

#if defined(__GNUC__)
#define ENGINE_INLINE inline __attribute__((always_inline))
#define ENGINE_NOINLINE __attribute__((noinline))
#define ENGINE_RESTRICT __restrict__
#else
#define ENGINE_INLINE inline
#define ENGINE_NOINLINE
#define ENGINE_RESTRICT
#endif

// Accumulators stay in registers only where the loops over them are unrolled completely.
#if defined(__clang__)
#define ENGINE_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define ENGINE_UNROLL _Pragma("GCC unroll 64")
#else
#define ENGINE_UNROLL
#endif

namespace onlineflows {

// Events of a tile. 64 keep a tile's activations inside a core's second-level cache, and batches
// of a power of two divide evenly among threads.
#ifndef ENGINE_TILE
#define ENGINE_TILE 64
#endif
inline constexpr int kTile = ENGINE_TILE;

// Packed rows are padded to this many numbers, the widest vector of all instruction sets.
inline constexpr int kPadding = 16;

// Rows of the tallest block of a weight gradient.
inline constexpr int kMostGradientRows = 12;

constexpr int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace onlineflows
