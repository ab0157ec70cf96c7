// Kernels for any processor of the target: no flags beyond the compiler's baseline.
#define ENGINE_ISA portable
#include "dispatch.hpp"
#include "isa_table.hpp"

namespace onlineflows {

InstructionSet portable_kernels() {
  return {"portable", portable::direct_kernels<float>(), portable::direct_kernels<double>(),
          nullptr};
}

}  // namespace onlineflows
