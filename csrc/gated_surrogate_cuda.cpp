// CUDA side of earl::gated_surrogate: one pass over the tokens, and a sum of the blocks' sums in a fixed order.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "cuda_torch.h"

namespace earl::cuda {
namespace {

constexpr const char* kSurrogateOp = "gated_surrogate";
constexpr int64_t kTokensPerBlock = 1024;
constexpr unsigned kMaxBlocks = 1024;

std::tuple<at::Tensor, at::Tensor, at::Tensor> gated_surrogate(
    const at::Tensor& logprobs, const at::Tensor& sampling_logprobs, const at::Tensor& advantages,
    const std::optional<at::Tensor>& reference_logprobs, const at::Tensor& surrogate_weights,
    const at::Tensor& kl_weights, double clip_low, double clip_high, double dual_clip) {
  TORCH_CHECK_VALUE(logprobs.dim() == 1, kSurrogateOp, ": logprobs must be [N], got ", logprobs.sizes());
  check_device(kSurrogateOp, logprobs,
               {sampling_logprobs, advantages, reference_logprobs, surrogate_weights, kl_weights});
  const DeviceOf guard(logprobs.device());
  const int64_t num_tokens = logprobs.size(0);
  const auto type = logprobs.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble, kSurrogateOp, ": logprobs must be float32 or float64, got ", type);
  const auto column = [&](const at::Tensor& values, const char* name) {
    return per_row(kSurrogateOp, values, num_tokens, type, name);
  };
  const at::Tensor current = logprobs.contiguous();
  const at::Tensor sampling = column(sampling_logprobs, "sampling_logprobs");
  const at::Tensor advantage = column(advantages, "advantages");
  const at::Tensor surrogate_weight = column(surrogate_weights, "surrogate_weights");
  const at::Tensor kl_weight = column(kl_weights, "kl_weights");
  at::Tensor reference;
  if (reference_logprobs.has_value()) reference = column(*reference_logprobs, "reference_logprobs");
  at::Tensor grad_logprobs = at::empty({num_tokens}, logprobs.options());
  const unsigned num_blocks = std::min(num_pieces(num_tokens, kTokensPerBlock), kMaxBlocks);
  at::Tensor total = at::zeros({6}, logprobs.options().dtype(at::kDouble));
  const at::Tensor partial = at::empty({num_blocks, 6}, total.options());
  if (num_blocks > 0) {
    AT_DISPATCH_FLOATING_TYPES(type, kSurrogateOp, [&] {
      const SurrogateTokens<scalar_t> tokens{const_pointer<scalar_t>(current),
                                             const_pointer<scalar_t>(sampling),
                                             const_pointer<scalar_t>(advantage),
                                             reference.defined() ? const_pointer<scalar_t>(reference) : nullptr,
                                             const_pointer<scalar_t>(surrogate_weight),
                                             const_pointer<scalar_t>(kl_weight),
                                             num_tokens,
                                             static_cast<scalar_t>(1 - clip_low),
                                             static_cast<scalar_t>(1 + clip_high),
                                             static_cast<scalar_t>(dual_clip)};
      launch_gated_surrogate(stream(), num_blocks, tokens, pointer<scalar_t>(grad_logprobs), pointer<double>(partial),
                             pointer<double>(total));
    });
    check_launch();
  }
  return {total[0].clone(), grad_logprobs, total.narrow(0, 1, 5).clone()};
}

}  // namespace
}  // namespace earl::cuda

TORCH_LIBRARY_IMPL(EARL_CUDA_LIBRARY, EARL_CUDA_KEY, m) { m.impl("gated_surrogate", &earl::cuda::gated_surrogate); }
