// CUDA side of earl::entropy_gate: a block a response, nothing sorted, no wait for the GPU.
#include <ATen/ops/zeros.h>

#include <optional>

#include "cuda_torch.h"

namespace earl::cuda {
namespace {

constexpr const char* kGateOp = "entropy_gate";

// The offsets' values are not read here: that would wait for the GPU. The kernel stays within the tokens whatever they
// are.
at::Tensor entropy_gate(const at::Tensor& entropy, const at::Tensor& completion_mask,
                           const std::optional<at::Tensor>& eligible, const at::Tensor& row_offsets, double fraction,
                           double min_entropy) {
  TORCH_CHECK_VALUE(entropy.dim() == 1 && entropy.is_floating_point(), kGateOp, ": entropy must be floating-point [N], got ",
                    entropy.scalar_type(), " ", entropy.sizes());
  TORCH_CHECK_VALUE(fraction > 0.0 && fraction <= 1.0, kGateOp, ": fraction must be in (0, 1], got ", fraction);
  TORCH_CHECK_VALUE(row_offsets.dim() == 1 && row_offsets.size(0) >= 1 && row_offsets.scalar_type() == at::kLong, kGateOp,
                    ": row_offsets must be int64 [B + 1], got ", row_offsets.scalar_type(), " ", row_offsets.sizes());
  check_device(kGateOp, entropy, {completion_mask, eligible, row_offsets});
  const DeviceOf guard(entropy.device());
  const int64_t num_tokens = entropy.size(0);
  const at::Tensor scores = entropy.to(at::kFloat).contiguous();
  const at::Tensor mask = per_row(kGateOp, completion_mask, num_tokens, at::kBool, "completion_mask");
  at::Tensor allowed;
  if (eligible.has_value()) allowed = per_row(kGateOp, *eligible, num_tokens, at::kBool, "eligible");
  const at::Tensor offsets = row_offsets.contiguous();
  at::Tensor gate = at::zeros({num_tokens}, entropy.options().dtype(at::kBool));
  const auto num_rows = static_cast<unsigned>(offsets.size(0) - 1);
  if (num_rows > 0 && num_tokens > 0) {
    const GateTokens tokens{const_pointer<float>(scores),
                            const_pointer<bool>(mask),
                            allowed.defined() ? const_pointer<bool>(allowed) : nullptr,
                            const_pointer<int64_t>(offsets),
                            num_tokens,
                            fraction,
                            min_entropy};
    launch_entropy_gate(stream(), {num_rows}, tokens, pointer<bool>(gate));
    check_launch();
  }
  return gate;
}

}  // namespace
}  // namespace earl::cuda

TORCH_LIBRARY_IMPL(EARL_CUDA_LIBRARY, EARL_CUDA_KEY, m) { m.impl("entropy_gate", &earl::cuda::entropy_gate); }
