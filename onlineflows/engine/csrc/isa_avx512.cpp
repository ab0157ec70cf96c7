// Kernels for AVX-512 (F, VL, BW, DQ).
#define ENGINE_ISA avx512
#define ENGINE_USE_AVX512
#include "dispatch.hpp"
#include "isa_table.hpp"

namespace onlineflows {

InstructionSet avx512_kernels() {
  return {"avx512", avx512::direct_kernels<float>(), avx512::direct_kernels<double>(), nullptr};
}

}  // namespace onlineflows
