// The table of an instruction set's kernels: included once by each translation unit isa_*.cpp.
#pragma once

#include "optimiser.hpp"
#include "packing.hpp"
#include "tile.hpp"

namespace onlineflows::ENGINE_ISA {

template <class A>
struct Entries {
  using T = typename A::Real;

  static void gradient(const Plan& plan, Packed<T> packed, const Events<T>& events,
                       const Workspace<T>& workspace, T* nll, T* sums) {
    const Tile<A> tile(plan, packed, workspace);
    tile.read(events);
    tile.template forward<true>();
    tile.nll(nll, events.n);
    tile.backward(sums);
  }

  static void forward(const Plan& plan, Packed<T> packed, const Events<T>& events,
                      const Workspace<T>& workspace, T* z, T* log_abs_det) {
    const Tile<A> tile(plan, packed, workspace);
    tile.read(events);
    tile.template forward<false>();
    write_columns(workspace.x, plan.n_features, events.n, z);
    write_columns(workspace.log_det, plan.n_features, events.n, log_abs_det);
  }

  static void inverse(const Plan& plan, Packed<T> packed, const Events<T>& events,
                      const Workspace<T>& workspace, T* x) {
    const Tile<A> tile(plan, packed, workspace);
    tile.read(events);
    tile.inverse();
    write_columns(workspace.x, plan.n_features, events.n, x);
  }
};

template <class T>
Kernels<T> direct_kernels() {
  using E = Entries<Direct<T>>;
  return {{kLanes<T>, kAccumulators, kColumns, false},
          pack_block<T>,
          E::gradient,
          E::forward,
          E::inverse,
          reduce_block<T>,
          schedule_free_step<T>,
          adam_step<T>};
}

}  // namespace onlineflows::ENGINE_ISA
