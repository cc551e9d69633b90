// CPU kernel of earl::gated_surrogate: the clipped surrogate and the KL term of packed tokens, their gradient and the
// sums that metrics need, in one pass. A token's weights hold its gate and the denominators.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cmath>
#include <tuple>

#include "checks.h"
#include "parallel.h"

namespace earl {
namespace {

constexpr const char* kOp = "gated_surrogate";

template <typename scalar>
struct Surrogate {
  const scalar* logprobs;
  const scalar* sampling_logprobs;
  const scalar* advantages;
  const scalar* reference_logprobs;  // null: no k3
  const scalar* surrogate_weights;
  const scalar* kl_weights;
  scalar lowest;   // ratio
  scalar highest;  // ratio
  scalar dual_clip;
  scalar* grad_logprobs;

  // sums: gated, clipped with a negative advantage, clipped with another, k3, number of k3's. Returns the loss.
  double run(int64_t num_tokens, double* sums) const {
    double loss = 0.0;
    for (int64_t i = 0; i < num_tokens; ++i) {
      grad_logprobs[i] = 0;
      loss += add_surrogate(i, sums);
      if (reference_logprobs != nullptr) loss += add_k3(i, sums);
    }
    return loss;
  }

  // max(-rA, -clip(r)A), at most -dual_clip A for a negative A; its slope is -rA where nothing is cut, else 0.
  double add_surrogate(int64_t i, double* sums) const {
    const scalar weight = surrogate_weights[i];
    const scalar advantage = advantages[i];
    const scalar ratio = std::exp(logprobs[i] - sampling_logprobs[i]);
    const scalar clamped = ratio < lowest ? lowest : (ratio > highest ? highest : ratio);
    const scalar unclipped = -ratio * advantage;
    const scalar clipped = -clamped * advantage;
    scalar loss = clipped > unclipped ? clipped : unclipped;
    bool is_clipped = clipped > unclipped;
    const scalar bound = -dual_clip * advantage;
    if (dual_clip > 0 && advantage < 0 && loss > bound) {
      loss = bound;
      is_clipped = true;
    }
    if (weight > 0) {
      sums[0] += 1;
      sums[advantage < 0 ? 1 : 2] += is_clipped;
    }
    if (!is_clipped) grad_logprobs[i] += weight * unclipped;
    return double{weight * loss};
  }

  // k3 = q/p - log(q/p) - 1, with p the policy and q the reference.
  double add_k3(int64_t i, double* sums) const {
    const scalar log_ratio = reference_logprobs[i] - logprobs[i];
    const scalar ratio = std::exp(log_ratio);
    const scalar divergence = ratio - log_ratio - 1;
    sums[3] += divergence;
    sums[4] += 1;
    if (!(kl_weights[i] > 0)) return 0.0;
    grad_logprobs[i] += kl_weights[i] * (1 - ratio);
    return double{kl_weights[i] * divergence};
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> gated_surrogate(
    const at::Tensor& logprobs, const at::Tensor& sampling_logprobs, const at::Tensor& advantages,
    const std::optional<at::Tensor>& reference_logprobs, const at::Tensor& surrogate_weights,
    const at::Tensor& kl_weights, double clip_low, double clip_high, double dual_clip) {
  TORCH_CHECK_VALUE(logprobs.dim() == 1, kOp, ": logprobs must be [N], got ", logprobs.sizes());
  const int64_t num_tokens = logprobs.size(0);
  const auto type = logprobs.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble, kOp, ": logprobs must be float32 or float64, got ", type);
  const auto column = [&](const at::Tensor& values, const char* name) {
    return per_row(kOp, values, num_tokens, type, name);
  };
  const at::Tensor current = logprobs.contiguous();
  const at::Tensor sampling = column(sampling_logprobs, "sampling_logprobs");
  const at::Tensor advantage = column(advantages, "advantages");
  const at::Tensor surrogate_weight = column(surrogate_weights, "surrogate_weights");
  const at::Tensor kl_weight = column(kl_weights, "kl_weights");
  at::Tensor reference;
  if (reference_logprobs.has_value()) reference = column(*reference_logprobs, "reference_logprobs");
  at::Tensor grad_logprobs = at::empty({num_tokens}, logprobs.options());
  at::Tensor sums = at::zeros({5}, logprobs.options().dtype(at::kDouble));
  at::Tensor loss = at::zeros({}, logprobs.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES(type, kOp, [&] {
    const Surrogate<scalar_t> body{current.const_data_ptr<scalar_t>(),
                                   sampling.const_data_ptr<scalar_t>(),
                                   advantage.const_data_ptr<scalar_t>(),
                                   reference.defined() ? reference.const_data_ptr<scalar_t>() : nullptr,
                                   surrogate_weight.const_data_ptr<scalar_t>(),
                                   kl_weight.const_data_ptr<scalar_t>(),
                                   static_cast<scalar_t>(1 - clip_low),
                                   static_cast<scalar_t>(1 + clip_high),
                                   static_cast<scalar_t>(dual_clip),
                                   grad_logprobs.mutable_data_ptr<scalar_t>()};
    *loss.mutable_data_ptr<double>() = body.run(num_tokens, sums.mutable_data_ptr<double>());
  });
  return {loss, grad_logprobs, sums};
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_IMPL(earl, CPU, m) { m.impl("gated_surrogate", &earl::gated_surrogate); }
