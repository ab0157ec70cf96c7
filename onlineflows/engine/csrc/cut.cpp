#include "cut.hpp"

#include <algorithm>
#include <limits>

#include "config.hpp"

namespace onlineflows {

namespace {

constexpr int kMostRows = 6;

// Cycles of a block in units of one row and one step of the contraction. Below two rows a step
// waits for the latency of the one before; the rest stands for the block's start and finish.
double cost(int count, int depth) { return std::max(count, 2) * double(depth) + 8.0 + count; }

Range hull(const std::vector<Range>& ranges, int begin, int end) {
  Range all = ranges[begin];
  for (int row = begin + 1; row < end; ++row) {
    all.begin = std::min(all.begin, ranges[row].begin);
    all.end = std::max(all.end, ranges[row].end);
  }
  return all;
}

}  // namespace

std::vector<RowBlock> cut_rows(const std::vector<Range>& ranges, int first, Units units) {
  const int n = int(ranges.size());
  std::vector<double> best(n + 1, std::numeric_limits<double>::infinity());
  std::vector<RowBlock> last(n + 1);
  best[0] = 0;
  for (int end = units.rows; end <= n; end += units.rows) {
    for (int count = units.rows; count <= std::min(kMostRows, end); count += units.rows) {
      const Range range = hull(ranges, end - count, end);
      const int begin = range.begin / units.depth;
      const int stop = std::max(begin, (range.end + units.depth - 1) / units.depth);
      const double total = best[end - count] + cost(count, stop - begin);
      if (total < best[end]) {
        best[end] = total;
        last[end] = {first + end - count, count, begin, stop};
      }
    }
  }
  std::vector<RowBlock> blocks;
  for (int end = n; end > 0; end -= blocks.back().count) blocks.push_back(last[end]);
  std::reverse(blocks.begin(), blocks.end());
  return blocks;
}

std::vector<RowBlock> cut_gradient(const std::vector<int>& fan_in, const Cut& cut) {
  const int n = int(fan_in.size());
  const auto width = [&](int row) { return (fan_in[row] + cut.lanes - 1) / cut.lanes; };
  std::vector<RowBlock> blocks;
  for (int begin = 0, end = 0; begin < n; begin = end) {
    while (end < n && width(end) == width(begin)) ++end;
    if (width(begin) == 0) continue;
    const int widest = std::min(width(begin), cut.columns);
    const int tallest = std::min(kMostGradientRows, cut.accumulators / widest);
    const int pieces = (end - begin + tallest - 1) / tallest;
    for (int piece = 0; piece < pieces; ++piece) {
      const int from = begin + (end - begin) * piece / pieces;
      const int to = begin + (end - begin) * (piece + 1) / pieces;
      blocks.push_back({from, to - from, 0, width(begin)});
    }
  }
  return blocks;
}

}  // namespace onlineflows
