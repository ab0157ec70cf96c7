// Cutting masked products into row blocks.
#pragma once

#include <vector>

#include "plan.hpp"

namespace onlineflows {

// The contraction range of one row.
struct Range {
  int begin;
  int end;
};

// In what units rows and contractions come: 1, or 2 where bfloat16 numbers go in pairs.
struct Units {
  int rows;
  int depth;
};

// Cuts rows first, first + 1, … into blocks of at most 6 so that the number of multiplications,
// with what a block wastes on its shorter rows, is smallest (by dynamic programming). The ranges
// of the blocks are in units of depth.
std::vector<RowBlock> cut_rows(const std::vector<Range>& ranges, int first, Units units);

// Cuts the rows of a weight gradient: neighbours whose fan-ins fill the same number of vectors
// share blocks as tall as the registers allow. Rows without weights have no block.
std::vector<RowBlock> cut_gradient(const std::vector<int>& fan_in, const Cut& cut);

}  // namespace onlineflows
