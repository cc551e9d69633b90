// Rows over torch's threads, each body on the best instruction set.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "simd.h"

namespace earl {

constexpr int64_t kElementsPerTask = 1 << 15;  // fewer are not worth a second thread

template <typename Body>
void for_rows(const Body& body, int64_t num_rows, int64_t elements_per_row) {
  const int64_t grain = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, elements_per_row));
  at::parallel_for(0, num_rows, grain, [&](int64_t begin, int64_t end) { run_on_best_isa(body, begin, end); });
}

}  // namespace earl
