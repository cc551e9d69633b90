// CPU kernel of earl::entropy_gate: the exact top share by entropy of each response, ties to the earlier token.
#include <ATen/Dispatch.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "checks.h"
#include "parallel.h"

namespace earl {
namespace {

constexpr const char* kOp = "entropy_gate";
constexpr double kSlack = 1e-9;  // keeps 0.07 * 100 = 7.000000000000001 at 7

struct GateResponses {
  const float* entropy;
  const bool* is_completion;
  const bool* is_eligible;  // null: all
  const int64_t* row_offsets;
  double fraction;
  double min_entropy;
  bool* gate;

  bool may_pass(int64_t token) const { return is_completion[token] && (is_eligible == nullptr || is_eligible[token]); }

  void operator()(int64_t begin, int64_t end) const {
    std::vector<int64_t> candidates;
    for (int64_t response = begin; response < end; ++response) {
      int64_t length = 0;
      candidates.clear();
      for (int64_t token = row_offsets[response]; token < row_offsets[response + 1]; ++token) {
        length += is_completion[token];
        if (may_pass(token)) candidates.push_back(token);
      }
      const double share = std::ceil(static_cast<double>(length) * fraction - kSlack);
      const auto kept = static_cast<size_t>(std::max(1.0, share));
      if (kept < candidates.size()) {
        std::nth_element(candidates.begin(), candidates.begin() + static_cast<int64_t>(kept), candidates.end(),
                         [this](int64_t a, int64_t b) { return is_before(a, b); });
        candidates.resize(kept);
      }
      for (const int64_t token : candidates) gate[token] = entropy[token] >= static_cast<float>(min_entropy);
    }
  }

  // Higher entropy first, then the earlier token. A NaN stands before every number, and is then refused.
  bool is_before(int64_t a, int64_t b) const {
    const float first = std::isnan(entropy[a]) ? std::numeric_limits<float>::infinity() : entropy[a];
    const float second = std::isnan(entropy[b]) ? std::numeric_limits<float>::infinity() : entropy[b];
    return first != second ? first > second : a < b;
  }
};

void check_offsets(const at::Tensor& row_offsets, int64_t num_tokens) {
  TORCH_CHECK_VALUE(row_offsets.dim() == 1 && row_offsets.size(0) >= 1 && row_offsets.scalar_type() == at::kLong, kOp,
                    ": row_offsets must be int64 [B + 1], got ", row_offsets.scalar_type(), " ", row_offsets.sizes());
  const int64_t* offsets = row_offsets.const_data_ptr<int64_t>();
  const int64_t num_rows = row_offsets.size(0) - 1;
  TORCH_CHECK_VALUE(offsets[0] == 0 && offsets[num_rows] == num_tokens, kOp, ": row_offsets must run from 0 to ",
                    num_tokens, ", the number of tokens; they run from ", offsets[0], " to ", offsets[num_rows]);
  for (int64_t row = 0; row < num_rows; ++row) {
    TORCH_CHECK_VALUE(offsets[row] <= offsets[row + 1], kOp, ": row_offsets must not fall, got ", offsets[row], ", ",
                      offsets[row + 1]);
  }
}

at::Tensor entropy_gate(const at::Tensor& entropy, const at::Tensor& completion_mask,
                        const std::optional<at::Tensor>& eligible, const at::Tensor& row_offsets, double fraction,
                        double min_entropy) {
  TORCH_CHECK_VALUE(entropy.dim() == 1 && entropy.is_floating_point(), kOp, ": entropy must be floating-point [N], got ",
                    entropy.scalar_type(), " ", entropy.sizes());
  TORCH_CHECK_VALUE(fraction > 0.0 && fraction <= 1.0, kOp, ": fraction must be in (0, 1], got ", fraction);
  const int64_t num_tokens = entropy.size(0);
  const at::Tensor scores = entropy.to(at::kFloat).contiguous();
  const at::Tensor mask = per_row(kOp, completion_mask, num_tokens, at::kBool, "completion_mask");
  at::Tensor allowed;
  if (eligible.has_value()) allowed = per_row(kOp, *eligible, num_tokens, at::kBool, "eligible");
  const at::Tensor offsets = row_offsets.contiguous();
  check_offsets(offsets, num_tokens);
  at::Tensor gate = at::zeros({num_tokens}, entropy.options().dtype(at::kBool));
  const GateResponses body{scores.const_data_ptr<float>(),
                           mask.const_data_ptr<bool>(),
                           allowed.defined() ? allowed.const_data_ptr<bool>() : nullptr,
                           offsets.const_data_ptr<int64_t>(),
                           fraction,
                           min_entropy,
                           gate.mutable_data_ptr<bool>()};
  const int64_t num_rows = offsets.size(0) - 1;
  const int64_t grain = std::max<int64_t>(1, kElementsPerTask * num_rows / std::max<int64_t>(1, num_tokens));
  at::parallel_for(0, num_rows, grain, [&](int64_t begin, int64_t end) { body(begin, end); });
  return gate;
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_IMPL(earl, CPU, m) { m.impl("entropy_gate", &earl::entropy_gate); }
