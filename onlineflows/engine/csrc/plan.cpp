#include "plan.hpp"

#include <algorithm>
#include <cstring>

#include "config.hpp"
#include "cut.hpp"

namespace onlineflows {

namespace {

std::vector<Range> prefixes(const std::vector<int>& fan_in) {
  std::vector<Range> ranges;
  ranges.reserve(fan_in.size());
  for (const int n : fan_in) ranges.push_back({0, n});
  return ranges;
}

// For each input of a layer, the outputs that see it: from the first of them to the last.
std::vector<Range> suffixes(const std::vector<int>& fan_in, int n_inputs) {
  const int n_rows = int(fan_in.size());
  std::vector<Range> ranges;
  for (int input = 0; input < n_inputs; ++input) {
    int first = 0;
    while (first < n_rows && fan_in[first] <= input) ++first;
    ranges.push_back({first, n_rows});
  }
  return ranges;
}

}  // namespace

template <class X>
Span<X> Plan::keep(const std::vector<X>& values) {
  const std::size_t n_bytes = values.size() * sizeof(X);
  storage_.push_back(std::make_unique<unsigned char[]>(n_bytes));
  X* kept = reinterpret_cast<X*>(storage_.back().get());
  std::uninitialized_copy(values.begin(), values.end(), kept);
  return {kept, int(values.size())};
}

Plan::Plan(const FlowDescription& flow, const Cut& cut)
    : n_features(flow.n_features),
      n_context(flow.n_context),
      transform(flow.transform),
      bins(flow.bins),
      bound(flow.bound),
      n_outputs(flow.n_outputs()),
      paired(cut.paired) {
  std::vector<BlockPlan> planned;
  planned.reserve(flow.blocks.size());
  for (const BlockDescription& block : flow.blocks) planned.push_back(plan_block(block, cut));
  blocks = keep(planned);
}

BlockPlan Plan::plan_block(const BlockDescription& block, const Cut& cut) {
  const int unit = cut.paired ? 2 : 1;
  const auto rows_of = [&](const std::vector<int>& list) { return int(list.size()); };
  BlockPlan plan{};
  plan.n_inputs = rows_of(block.inputs);
  plan.n_targets = rows_of(block.targets);
  plan.hidden_1 = round_up(rows_of(block.fan_in_1), unit);
  plan.hidden_2 = round_up(rows_of(block.fan_in_2), unit);
  plan.target_rows = round_up(n_outputs, unit);
  plan.inputs = keep(block.inputs);
  plan.targets = keep(block.targets);
  // The first layer multiplies in full precision: its inputs are few, and are the data.
  plan.layer_1 = plan_layer(block.fan_in_1, plan.n_inputs,
                            {1, 1, plan.hidden_1, false, cut.paired, true}, cut);
  plan.layer_2 = plan_layer(block.fan_in_2, plan.hidden_1,
                            {1, 1, plan.hidden_2, cut.paired, cut.paired, false}, cut);
  plan.layer_out = plan_layer(
      block.fan_in_out, plan.hidden_2,
      {n_outputs, plan.target_rows, plan.n_targets * plan.target_rows, cut.paired, false, false},
      cut);
  plan_outputs(block, plan);
  plan_inverse(block, plan);
  return plan;
}

LayerPlan Plan::plan_layer(const std::vector<int>& fan_in, int n_columns, const Padding& padding,
                           const Cut& cut) {
  LayerPlan layer{};
  layer.n_rows = padding.n_rows;
  layer.leading = round_up(std::max(n_columns, 1), kPadding);
  const std::int64_t n_weights = std::int64_t(layer.n_rows) * layer.leading;
  layer.weights = packed_size;
  layer.biases = packed_size + n_weights;
  packed_size = layer.biases + round_up(layer.n_rows, kPadding);
  layer.weight_sums = gradient_size;
  layer.partial = padding.partial;
  layer.n_columns = n_columns;
  layer.bias_sums = gradient_size +
                    (layer.partial ? std::int64_t(layer.n_rows) * n_columns * kPadding : n_weights);
  gradient_size = layer.bias_sums + std::int64_t(layer.n_rows) * kPadding;
  layer.pairs = pairs_size;
  if (padding.paired) pairs_size += n_weights;

  // A padded row sees what its neighbour sees (through weights of zero) but has no gradient.
  std::vector<int> all(layer.n_rows, fan_in.back());
  std::vector<int> live(layer.n_rows, 0);
  std::vector<RowCopy> rows;
  for (std::size_t i = 0; i < fan_in.size(); ++i) {
    for (int each = 0; each < padding.padded_each; ++each) {
      const int row = int(i) * padding.padded_each + each;
      all[row] = fan_in[i];
      if (each >= padding.rows_each) continue;
      live[row] = fan_in[i];
      rows.push_back({n_theta, 0, row, fan_in[i]});
      n_theta += fan_in[i];
    }
  }
  for (RowCopy& row : rows) row.theta_bias = n_theta++;
  layer.rows = keep(rows);
  const int depth = padding.paired ? 2 : 1;
  layer.forward = keep(cut_rows(prefixes(all), 0, {padding.paired_outputs ? 2 : 1, depth}));
  // In pairs a gradient with respect to a hidden layer's activations is stored in pairs again,
  // except the last one back, which meets the first layer's full precision.
  const bool to_pairs = padding.paired && !padding.paired_outputs;
  layer.backward = keep(cut_rows(suffixes(all, n_columns), 0, {to_pairs ? 2 : 1, depth}));
  layer.gradient = keep(cut_gradient(live, cut));
  return layer;
}

void Plan::plan_outputs(const BlockDescription& block, BlockPlan& plan) {
  std::vector<Span<RowBlock>> outputs;
  for (int i = 0; i < plan.n_targets; ++i) {
    const std::vector<Range> ranges(n_outputs, {0, block.fan_in_out[i]});
    outputs.push_back(keep(cut_rows(ranges, i * plan.target_rows, {1, paired ? 2 : 1})));
  }
  plan.outputs = keep(outputs);
}

void Plan::plan_inverse(const BlockDescription& block, BlockPlan& plan) {
  if (paired) return;  // only gradients are computed in pairs
  const auto rows = [&](const std::vector<int>& fan_in, int from, int to) {
    const std::vector<int> some(fan_in.begin() + from, fan_in.begin() + std::max(from, to));
    return keep(cut_rows(prefixes(some), from, {1, 1}));
  };
  std::vector<InverseStep> steps;
  int done_1 = 0;
  int done_2 = 0;
  for (int i = 0; i < plan.n_targets; ++i) {
    const int need_2 = std::max(done_2, block.fan_in_out[i]);
    const int need_1 = std::max(done_1, need_2 > 0 ? block.fan_in_2[need_2 - 1] : 0);
    steps.push_back({rows(block.fan_in_1, done_1, need_1), rows(block.fan_in_2, done_2, need_2),
                     plan.outputs[i]});
    done_1 = need_1;
    done_2 = need_2;
  }
  plan.inverse = keep(steps);
}

}  // namespace onlineflows
