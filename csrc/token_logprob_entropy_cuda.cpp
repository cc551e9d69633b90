// CUDA side of earl::token_logprob_entropy and its backward: one pass over the logits each, no logits-sized copies.
#include "cuda_softmax.h"

namespace earl::cuda {
namespace {

constexpr const char* kForward = "token_logprob_entropy";
constexpr const char* kBackward = "token_logprob_entropy_backward";

std::tuple<at::Tensor, at::Tensor, at::Tensor> token_logprob_entropy(const at::Tensor& logits,
                                                                     const at::Tensor& targets, double temperature) {
  check_device(kForward, logits, {targets});
  check_logits(kForward, logits, targets, temperature);
  const DeviceOf guard(logits.device());
  const Tile tile{with_dense_rows(logits)};
  const at::Tensor dense_targets = targets.contiguous();
  const int64_t vocab = logits.size(1);
  Parts parts(logits.size(0), vocab, vocab, logits.options().dtype(stats_type(logits.scalar_type())));
  return AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), kForward, [&] {
    using scalar = kernel_t<scalar_t>;
    add_tile<scalar>(tile, dense_targets, temperature, parts);
    return finish<acc_t<scalar>>(parts, dense_targets, vocab, temperature);
  });
}

at::Tensor token_logprob_entropy_backward(const at::Tensor& grad_logprob, const at::Tensor& grad_entropy,
                                          const at::Tensor& grad_logsumexp, const at::Tensor& logits,
                                          const at::Tensor& targets, const at::Tensor& entropy,
                                          const at::Tensor& logsumexp, double temperature) {
  check_device(kBackward, logits, {targets, entropy, logsumexp, grad_logprob, grad_entropy, grad_logsumexp});
  check_logits(kBackward, logits, targets, temperature);
  const DeviceOf guard(logits.device());
  const int64_t num_rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  const auto stats = stats_type(logits.scalar_type());
  const auto row = [&](const at::Tensor& values, at::ScalarType type, const char* name) {
    return per_row(kBackward, values, num_rows, type, name);
  };
  const RowTensors rows{targets.contiguous(),
                        row(entropy, stats, "entropy"),
                        row(logsumexp, at::kDouble, "logsumexp"),
                        row(grad_logprob, stats, "grad_logprob"),
                        row(grad_entropy, stats, "grad_entropy"),
                        row(grad_logsumexp, at::kDouble, "grad_logsumexp")};
  const Tile tile{with_dense_rows(logits)};
  at::Tensor grad = at::empty({num_rows, vocab}, logits.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), kBackward, [&] {
    using scalar = kernel_t<scalar_t>;
    write_gradient<scalar, scalar>(tile, rows, temperature, grad);
  });
  return grad;
}

}  // namespace
}  // namespace earl::cuda

TORCH_LIBRARY_IMPL(EARL_CUDA_LIBRARY, EARL_CUDA_KEY, m) {
  m.impl("token_logprob_entropy", &earl::cuda::token_logprob_entropy);
  m.impl("token_logprob_entropy_backward", &earl::cuda::token_logprob_entropy_backward);
}
