// A flow as the caller describes it: sizes and prefixes, no storage, no θ.
#pragma once

#include <cstdint>
#include <vector>

namespace onlineflows {

struct BlockDescription {
  std::vector<int> inputs;
  std::vector<int> targets;
  std::vector<int> fan_in_1;
  std::vector<int> fan_in_2;
  std::vector<int> fan_in_out;
};

enum class Transform : int { affine = 0, spline = 1 };

struct FlowDescription {
  int n_features = 0;
  int n_context = 0;
  Transform transform = Transform::affine;
  int bins = 0;
  double bound = 0;
  std::vector<BlockDescription> blocks;

  int n_outputs() const { return transform == Transform::spline ? 3 * bins - 1 : 2; }
};

// Reads a flow from plain integers (the layout is in engine.h).
//
// Throws std::invalid_argument with what was expected, got and where, also if a target can't be
// computed from what precedes it, which the inverse needs.
FlowDescription read_description(const std::int32_t* numbers, std::int64_t n, double bound);

}  // namespace onlineflows
