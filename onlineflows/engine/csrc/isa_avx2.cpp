// Kernels for AVX2 with FMA.
#define ENGINE_ISA avx2
#define ENGINE_USE_AVX2
#include "dispatch.hpp"
#include "isa_table.hpp"

namespace onlineflows {

InstructionSet avx2_kernels() {
  return {"avx2", avx2::direct_kernels<float>(), avx2::direct_kernels<double>(), nullptr};
}

}  // namespace onlineflows
