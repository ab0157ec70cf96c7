// Vectors of numbers, one interface over every instruction set.
//
// Each instruction set is a translation unit of its own, compiled with its own flags, and lives in
// a namespace of its own (ENGINE_ISA), so that the linker can never hand code for one processor to
// another. Inside these units nothing of the standard library is instantiated for the same reason.
//
// What a set provides for T = float and double:
//   Lanes<T>::Vector, Lanes<T>::Mask, Lanes<T>::count    types and width
//   load, store, load_first, store_first, broadcast, fma, absolute, square_root, reciprocal,
//   reciprocal_estimate, positive_part, sum_of_lanes greater, less_equal, equal, both, select
//   comparisons kColumns, kAccumulators                              how many registers a product
//   may fill
#pragma once

#include "config.hpp"

#if defined(ENGINE_USE_AVX512)
#include "vector_avx512.hpp"
#elif defined(ENGINE_USE_AVX2)
#include "vector_avx2.hpp"
#elif defined(__GNUC__) && !defined(ENGINE_PLAIN_ARRAYS)
#include "vector_portable.hpp"
#else
#include "vector_plain.hpp"
#endif

namespace onlineflows::ENGINE_ISA {

template <class T>
using Vector = typename Lanes<T>::Vector;
template <class T>
using Mask = typename Lanes<T>::Mask;
template <class T>
inline constexpr int kLanes = Lanes<T>::count;

}  // namespace onlineflows::ENGINE_ISA
