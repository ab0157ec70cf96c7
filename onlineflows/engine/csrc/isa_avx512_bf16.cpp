// The gradient with bfloat16 products, for AVX-512 with BF16. Everything else is in isa_avx512.cpp.
#define ENGINE_ISA avx512_bf16
#define ENGINE_USE_AVX512
#include "dispatch.hpp"
#include "isa_table.hpp"
#include "paired.hpp"

namespace onlineflows {

namespace avx512_bf16 {

static void pack_block_pairs(const Plan& plan, const BlockPlan& block, const float* theta,
                             Packed<float> packed) {
  pack_block(plan, block, theta, packed);
  pack_pairs(block.layer_2, packed);
  pack_pairs(block.layer_out, packed);
}

}  // namespace avx512_bf16

const Kernels<float>* bfloat16_kernels() {
  static const Kernels<float> kernels = [] {
    Kernels<float> k = avx512_bf16::direct_kernels<float>();
    k.cut.paired = true;
    k.pack = avx512_bf16::pack_block_pairs;
    k.gradient = avx512_bf16::Entries<avx512_bf16::Paired>::gradient;
    return k;
  }();
  return &kernels;
}

}  // namespace onlineflows
