// Which kernels this processor runs.
#pragma once

#include "kernels.hpp"

namespace onlineflows {

struct InstructionSet {
  const char* name;
  Kernels<float> float32;
  Kernels<double> float64;
  const Kernels<float>* bfloat16;  // null where the processor has no such products
};

// The best set that this processor has, or the one named in ONLINEFLOWS_ISA ("portable", "avx2",
// "avx512", "avx512_bf16") if the processor has it. An engine keeps what it was made with.
const InstructionSet& instruction_set();

// Names of all sets that this processor can run, separated by spaces.
const char* available_sets();

// One for each translation unit that was built.
InstructionSet portable_kernels();
InstructionSet avx2_kernels();
InstructionSet avx512_kernels();
const Kernels<float>* bfloat16_kernels();

}  // namespace onlineflows
