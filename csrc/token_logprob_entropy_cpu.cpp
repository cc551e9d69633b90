// CPU kernels of earl::token_logprob_entropy and its backward: one pass over the logits each.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstring>
#include <tuple>

#include "checks.h"
#include "parallel.h"
#include "rows.h"

namespace earl {
namespace {

template <typename scalar>
struct ForwardRows {
  using acc = acc_t<scalar>;
  const scalar* logits;
  int64_t row_stride;
  int64_t vocab;
  const int64_t* targets;
  Scale<acc> scale;
  acc* logprob;
  acc* entropy;
  double* logsumexp;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const scalar* row_logits = logits + row * row_stride;
      RowState<acc> state;
      accumulate<false>(state, row_logits, nullptr, vocab, scale);
      finish(state, widen(row_logits[targets[row]]), scale, logprob + row, entropy + row, logsumexp + row);
    }
  }
};

template <typename scalar>
struct BackwardRows {
  using acc = acc_t<scalar>;
  const scalar* logits;
  int64_t row_stride;
  int64_t vocab;
  const int64_t* targets;
  Scale<acc> scale;
  const acc* entropy;
  const double* logsumexp;
  const acc* grad_logprob;
  const acc* grad_entropy;
  const double* grad_logsumexp;
  scalar* grad_logits;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const bool is_gated_out = grad_logprob[row] == 0 && grad_entropy[row] == 0 && grad_logsumexp[row] == 0;
      if (is_gated_out) {
        std::memset(static_cast<void*>(grad_logits + row * vocab), 0, vocab * sizeof(scalar));
      } else {
        write_row(row);
      }
    }
  }

  EARL_INLINE void write_row(int64_t row) const {
    const scalar* row_logits = logits + row * row_stride;
    const acc target_logit = widen(row_logits[targets[row]]);
    const RowGradient<acc> gradient(grad_logprob[row], grad_entropy[row], static_cast<acc>(grad_logsumexp[row]),
                                    entropy[row], logsumexp[row], scale);
    scalar* out = grad_logits + row * vocab;
    gradient.template write<false>(row_logits, static_cast<const acc*>(nullptr), vocab, out);
    narrow(gradient.at_target(target_logit), out[targets[row]]);
  }
};

constexpr const char* kForward = "token_logprob_entropy";
constexpr const char* kBackward = "token_logprob_entropy_backward";

std::tuple<at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& logits, const at::Tensor& targets,
                                                       double temperature) {
  check_logits(kForward, logits, targets, temperature);
  const at::Tensor dense_logits = with_dense_rows(logits);
  const at::Tensor dense_targets = targets.contiguous();
  const int64_t num_rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  const auto options = logits.options().dtype(stats_type(logits.scalar_type()));
  at::Tensor logprob = at::empty({num_rows}, options);
  at::Tensor entropy = at::empty({num_rows}, options);
  at::Tensor logsumexp = at::empty({num_rows}, options.dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), kForward, [&] {
    using acc = acc_t<scalar_t>;
    const ForwardRows<scalar_t> body{dense_logits.const_data_ptr<scalar_t>(),
                                     dense_logits.stride(0),
                                     vocab,
                                     dense_targets.const_data_ptr<int64_t>(),
                                     Scale<acc>(temperature),
                                     logprob.mutable_data_ptr<acc>(),
                                     entropy.mutable_data_ptr<acc>(),
                                     logsumexp.mutable_data_ptr<double>()};
    for_rows(body, num_rows, vocab);
  });
  return {logprob, entropy, logsumexp};
}

at::Tensor backward(const at::Tensor& grad_logprob, const at::Tensor& grad_entropy, const at::Tensor& grad_logsumexp,
                    const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& entropy,
                    const at::Tensor& logsumexp, double temperature) {
  check_logits(kBackward, logits, targets, temperature);
  const at::Tensor dense_logits = with_dense_rows(logits);
  const at::Tensor dense_targets = targets.contiguous();
  const int64_t num_rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  const auto type = stats_type(logits.scalar_type());
  const at::Tensor dense_grad_logprob = per_row(kBackward, grad_logprob, num_rows, type, "grad_logprob");
  const at::Tensor dense_grad_entropy = per_row(kBackward, grad_entropy, num_rows, type, "grad_entropy");
  const at::Tensor dense_grad_logsumexp = per_row(kBackward, grad_logsumexp, num_rows, at::kDouble, "grad_logsumexp");
  const at::Tensor dense_entropy = per_row(kBackward, entropy, num_rows, type, "entropy");
  const at::Tensor dense_logsumexp = per_row(kBackward, logsumexp, num_rows, at::kDouble, "logsumexp");
  at::Tensor grad_logits = at::empty({num_rows, vocab}, logits.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), kBackward, [&] {
    using acc = acc_t<scalar_t>;
    const BackwardRows<scalar_t> body{dense_logits.const_data_ptr<scalar_t>(),
                                      dense_logits.stride(0),
                                      vocab,
                                      dense_targets.const_data_ptr<int64_t>(),
                                      Scale<acc>(temperature),
                                      dense_entropy.const_data_ptr<acc>(),
                                      dense_logsumexp.const_data_ptr<double>(),
                                      dense_grad_logprob.const_data_ptr<acc>(),
                                      dense_grad_entropy.const_data_ptr<acc>(),
                                      dense_grad_logsumexp.const_data_ptr<double>(),
                                      grad_logits.mutable_data_ptr<scalar_t>()};
    for_rows(body, num_rows, vocab);
  });
  return grad_logits;
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_IMPL(earl, CPU, m) {
  m.impl("token_logprob_entropy", &earl::forward);
  m.impl("token_logprob_entropy_backward", &earl::backward);
}
