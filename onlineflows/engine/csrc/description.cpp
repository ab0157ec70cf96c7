#include "description.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace onlineflows {

namespace {

[[noreturn]] void refuse(const std::string& expected, const std::string& got) {
  throw std::invalid_argument("expected " + expected + "; got " + got);
}

// Takes integers one after the other and refuses to run over the end.
class Reader {
 public:
  Reader(const std::int32_t* numbers, std::int64_t n) : next_(numbers), end_(numbers + n) {}

  int take(int low, int high, const char* name) {
    if (next_ == end_) refuse(name, "the end of the specification");
    const int number = *next_++;
    if (number < low || number > high) {
      refuse(std::string(name) + " in [" + std::to_string(low) + ", " + std::to_string(high) + "]",
             std::to_string(number));
    }
    return number;
  }

  std::vector<int> take_list(int n, int low, int high, const char* name) {
    std::vector<int> list;
    list.reserve(std::size_t(n));
    for (int i = 0; i < n; ++i) list.push_back(take(low, high, name));
    return list;
  }

  bool at_end() const { return next_ == end_; }

 private:
  const std::int32_t* next_;
  const std::int32_t* end_;
};

constexpr int kMost = 1048576;

void expect_ascending(const std::vector<int>& list, const char* name) {
  if (!std::is_sorted(list.begin(), list.end())) refuse(name, "a list that isn't ascending");
}

// How many of the block's inputs reach a target through the network.
int reach(const BlockDescription& block, int target) {
  const int n_2 = block.fan_in_out[target];
  const int n_1 = n_2 > 0 ? block.fan_in_2[n_2 - 1] : 0;
  return n_1 > 0 ? block.fan_in_1[n_1 - 1] : 0;
}

void expect_invertible(const BlockDescription& block) {
  for (std::size_t i = 0; i < block.targets.size(); ++i) {
    const auto seen_end = block.inputs.begin() + reach(block, int(i));
    for (std::size_t later = i; later < block.targets.size(); ++later) {
      if (std::find(block.inputs.begin(), seen_end, block.targets[later]) != seen_end) {
        refuse("a target to depend on earlier ones only", "target " + std::to_string(i) +
                                                              " that sees feature " +
                                                              std::to_string(block.targets[later]));
      }
    }
  }
}

BlockDescription read_block(Reader& reader, const FlowDescription& flow) {
  const int n_variables = flow.n_features + flow.n_context;
  const int n_inputs = reader.take(0, n_variables, "n_inputs");
  const int n_targets = reader.take(1, flow.n_features, "n_targets");
  const int hidden_1 = reader.take(1, kMost, "hidden_1");
  const int hidden_2 = reader.take(1, kMost, "hidden_2");
  BlockDescription block;
  block.inputs = reader.take_list(n_inputs, 0, n_variables - 1, "inputs");
  block.targets = reader.take_list(n_targets, 0, flow.n_features - 1, "targets");
  block.fan_in_1 = reader.take_list(hidden_1, 0, n_inputs, "fan_in_1");
  block.fan_in_2 = reader.take_list(hidden_2, 0, hidden_1, "fan_in_2");
  block.fan_in_out = reader.take_list(n_targets, 0, hidden_2, "fan_in_out");
  expect_ascending(block.fan_in_1, "fan_in_1 ascending");
  expect_ascending(block.fan_in_2, "fan_in_2 ascending");
  expect_ascending(block.fan_in_out, "fan_in_out ascending");
  std::vector<int> sorted = block.targets;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    refuse("each target once in a block", "a target twice");
  }
  expect_invertible(block);
  return block;
}

}  // namespace

FlowDescription read_description(const std::int32_t* numbers, std::int64_t n, double bound) {
  Reader reader(numbers, n);
  FlowDescription flow;
  flow.n_features = reader.take(1, kMost, "n_features");
  flow.n_context = reader.take(0, kMost, "n_context");
  flow.transform = Transform(reader.take(0, 1, "transform"));
  flow.bins = reader.take(flow.transform == Transform::spline ? 2 : 0, 1024, "bins");
  flow.bound = bound;
  if (!(bound > 0)) refuse("a positive bound", std::to_string(bound));
  const int n_blocks = reader.take(1, kMost, "n_blocks");
  for (int i = 0; i < n_blocks; ++i) flow.blocks.push_back(read_block(reader, flow));
  if (!reader.at_end()) refuse("the end of the specification", "more numbers");
  return flow;
}

}  // namespace onlineflows
