// What a spline's two passes share: the rows that the first leaves for the second.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"

namespace onlineflows::ENGINE_ISA {

// Rows of `saved`. Positions and sizes are fractions of the whole range once the forward pass is
// done, and in units of the softmax's numerators before: the event's place is scaled, not the
// knots.
enum SplineRow { kT, kX0, kWidth, kY0, kHeight, kD0, kD1, kSlope0, kSlope1, kNumber, kSumW };
static_assert(kSumW + 1 == kSaved, "the workspace has as many rows");

template <int kBins>
ENGINE_INLINE int n_bins(const Plan& plan) {
  return kBins > 0 ? kBins : plan.bins;
}

// Calls body(j) for j in [from, bins), unrolled where the number of bins is fixed.
template <int kBins, class Body>
ENGINE_INLINE void over_bins(int from, int bins, Body body) {
  if constexpr (kBins > 0) {
    ENGINE_UNROLL
    for (int j = from; j < kBins; ++j) body(j);
  } else {
    for (int j = from; j < bins; ++j) body(j);
  }
}

}  // namespace onlineflows::ENGINE_ISA
