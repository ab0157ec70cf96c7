#include "dispatch.hpp"

#include <cstdlib>
#include <string>
#include <vector>

namespace onlineflows {

namespace {

#if defined(ENGINE_X86)

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && has_avx2();
}

bool has_bfloat16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

#endif

// All sets that run here, the best first.
std::vector<InstructionSet> find_sets() {
  std::vector<InstructionSet> all;
#if defined(ENGINE_X86)
  __builtin_cpu_init();
  if (has_avx512()) {
#if defined(ENGINE_HAS_BF16)
    if (has_bfloat16()) {
      all.push_back(avx512_kernels());
      all.back().name = "avx512_bf16";
      all.back().bfloat16 = bfloat16_kernels();
    }
#endif
    all.push_back(avx512_kernels());
  }
  if (has_avx2()) all.push_back(avx2_kernels());
#endif
  all.push_back(portable_kernels());
  return all;
}

const std::vector<InstructionSet>& sets() {
  static const std::vector<InstructionSet> all = find_sets();
  return all;
}

}  // namespace

const InstructionSet& instruction_set() {
  if (const char* wish = std::getenv("ONLINEFLOWS_ISA")) {
    for (const InstructionSet& set : sets()) {
      if (std::string(wish) == set.name) return set;
    }
  }
  return sets().front();
}

const char* available_sets() {
  static const std::string names = [] {
    std::string joined;
    for (const InstructionSet& set : sets()) {
      joined += (joined.empty() ? "" : " ") + std::string(set.name);
    }
    return joined;
  }();
  return names.c_str();
}

}  // namespace onlineflows
