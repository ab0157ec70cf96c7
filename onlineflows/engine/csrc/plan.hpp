// The plan of a flow: everything about it that doesn't depend on θ, worked out once.
//
// Masks are prefixes, so a masked product is a list of row blocks, each with a range of the
// contraction; what a mask forbids is hardly ever multiplied.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "description.hpp"

namespace onlineflows {

// Read-only view of an array that the plan owns. Kernels see nothing else of the plan's storage.
template <class X>
struct Span {
  const X* data = nullptr;
  int size = 0;
  const X* begin() const { return data; }
  const X* end() const { return data + size; }
  const X& operator[](int i) const { return data[i]; }
};

// Rows [first, first + count) of a product, contracted over [begin, end).
struct RowBlock {
  int first;
  int count;
  int begin;
  int end;
};

// Where the live weights of a row are in θ and in the packed storage, and where its bias is.
struct RowCopy {
  std::int64_t theta;
  std::int64_t theta_bias;
  int row;
  int length;
};

// One affine map of a masked network: outputs = weights x inputs + biases.
struct LayerPlan {
  int n_rows;            // outputs, padded
  int leading;           // distance between packed rows
  std::int64_t weights;  // offsets in the packed storage
  std::int64_t biases;
  std::int64_t weight_sums;  // offsets in the gradient's storage, where …
  std::int64_t bias_sums;    // each bias has kPadding partial sums
  bool partial;              // … and in the first layer each of n_columns weights has, too
  int n_columns;
  std::int64_t pairs;  // offset in the bfloat16 storage, which holds two forms
  Span<RowCopy> rows;
  Span<RowBlock> forward;   // rows = outputs, contraction over inputs
  Span<RowBlock> backward;  // rows = inputs, contraction over outputs
  Span<RowBlock> gradient;  // rows = outputs, [0, end) = inputs with a weight
};

// What must be computed, in this order, to invert a target once those before it are known.
struct InverseStep {
  Span<RowBlock> layer_1;
  Span<RowBlock> layer_2;
  Span<RowBlock> layer_out;
};

struct BlockPlan {
  int n_inputs;
  int n_targets;
  int hidden_1;  // padded
  int hidden_2;
  int target_rows;  // rows of the last layer for each target, padded
  Span<int> inputs;
  Span<int> targets;
  LayerPlan layer_1;
  LayerPlan layer_2;
  LayerPlan layer_out;           // its `forward` is in `outputs`
  Span<Span<RowBlock>> outputs;  // for each target
  Span<InverseStep> inverse;     // for each target
};

// How the kernels of one instruction set and precision want their work cut.
struct Cut {
  int lanes;         // of a vector
  int accumulators;  // registers that a product may fill
  int columns;       // vectors side by side in a product
  bool paired;       // products of hidden layers take pairs of bfloat16
};

class Plan {
 public:
  Plan(const FlowDescription& flow, const Cut& cut);
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  int n_features;
  int n_context;
  Transform transform;
  int bins;
  double bound;
  int n_outputs;  // parameters of one target's transform
  bool paired;
  std::int64_t n_theta = 0;
  std::int64_t packed_size = 0;    // numbers
  std::int64_t pairs_size = 0;     // pairs of bfloat16
  std::int64_t gradient_size = 0;  // numbers
  Span<BlockPlan> blocks;

 private:
  // How a layer's rows are padded and its products cut.
  struct Padding {
    int rows_each;  // rows for each fan-in, live
    int padded_each;
    int n_rows;   // all, padded
    bool paired;  // contraction in pairs
    bool paired_outputs;
    bool partial;  // gradient with partial sums
  };

  template <class X>
  Span<X> keep(const std::vector<X>& values);
  BlockPlan plan_block(const BlockDescription& block, const Cut& cut);
  LayerPlan plan_layer(const std::vector<int>& fan_in, int n_columns, const Padding& padding,
                       const Cut& cut);
  void plan_outputs(const BlockDescription& block, BlockPlan& plan);
  void plan_inverse(const BlockDescription& block, BlockPlan& plan);

  std::vector<std::unique_ptr<unsigned char[]>> storage_;
};

}  // namespace onlineflows
