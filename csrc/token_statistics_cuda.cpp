// CUDA side of earl::token_statistics: a block a row, without gradient.
#include <ATen/ops/empty.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cuda_torch.h"

namespace earl::cuda {
namespace {

constexpr const char* kStatisticsOp = "token_statistics";

template <typename acc>
acc*& place_of(StatisticsOut<acc>& out, const std::string& name) {
  if (name == "logprob") return out.logprob;
  if (name == "entropy") return out.entropy;
  if (name == "logsumexp") return out.logsumexp;
  if (name == "chosen_logit") return out.chosen_logit;
  if (name == "mean_logit") return out.mean_logit;
  if (name == "self_certainty") return out.self_certainty;
  if (name == "mean_entropy_change") return out.mean_entropy_change;
  if (name == "top_p_mass") return out.top_p_mass;
  if (name == "top_p_entropy") return out.top_p_entropy;
  TORCH_CHECK_VALUE(name == "min_p_logprob", kStatisticsOp, ": unknown statistic ", name,
                    "; known: logprob, entropy, logsumexp, chosen_logit, mean_logit, self_certainty, "
                    "mean_entropy_change, top_p_mass, top_p_entropy, min_p_logprob");
  return out.min_p_logprob;
}

std::vector<at::Tensor> token_statistics(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                                            const std::vector<std::string>& names, double top_p, double min_p) {
  check_device(kStatisticsOp, logits, {targets});
  check_logits(kStatisticsOp, logits, targets, temperature);
  TORCH_CHECK_VALUE(top_p > 0.0 && top_p <= 1.0, kStatisticsOp, ": top_p must be in (0, 1], got ", top_p);
  TORCH_CHECK_VALUE(min_p >= 0.0 && min_p <= 1.0, kStatisticsOp, ": min_p must be in [0, 1], got ", min_p);
  const DeviceOf guard(logits.device());
  const at::Tensor dense_logits = with_dense_rows(logits);
  const at::Tensor dense_targets = targets.contiguous();
  const auto options = logits.options().dtype(stats_type(logits.scalar_type()));
  std::vector<at::Tensor> found;
  for (size_t i = 0; i < names.size(); ++i) found.push_back(at::empty({logits.size(0)}, options));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), kStatisticsOp, [&] {
    using scalar = kernel_t<scalar_t>;
    using acc = acc_t<scalar>;
    StatisticsOut<acc> out = {};
    for (size_t i = 0; i < names.size(); ++i) {
      acc*& place = place_of(out, names[i]);
      TORCH_CHECK_VALUE(place == nullptr, kStatisticsOp, ": ", names[i], " is asked for twice");
      place = pointer<acc>(found[i]);
    }
    if (logits.size(0) == 0 || names.empty()) return;
    const StatisticsRows<scalar> rows{const_pointer<scalar>(dense_logits),
                                      dense_logits.stride(0),
                                      static_cast<int>(logits.size(1)),
                                      const_pointer<int64_t>(dense_targets),
                                      static_cast<acc>(1.0 / temperature),
                                      static_cast<acc>(std::log(min_p)),
                                      static_cast<acc>(top_p)};
    launch_token_statistics(stream(), {static_cast<unsigned>(logits.size(0))}, rows, out);
    check_launch();
  });
  return found;
}

}  // namespace
}  // namespace earl::cuda

TORCH_LIBRARY_IMPL(EARL_CUDA_LIBRARY, EARL_CUDA_KEY, m) {
  m.impl("token_statistics", &earl::cuda::token_statistics);
}
