// CPU kernels of earl::token_logprob_entropy and its backward: one pass over the logits each.
//
// For z the logits of a row and T the temperature, with p = softmax(z / T): log p[y], the entropy -sum p ln p in nats,
// and ln sum exp(z / T). The forward pass keeps a running maximum m, S = sum e and W = sum d e, with d = (z - m) / T and
// e = exp(d): entropy = ln S - W / S, both terms of which are >= 0.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

#include "simd.h"

namespace earl {
namespace {

constexpr int64_t kBlock = 512;                // logits widened at once: the copy stays in the first-level cache
constexpr int64_t kElementsPerTask = 1 << 15;  // fewer are not worth a second thread

struct RowStats {
  double max;       // of the logits, before the temperature
  double sum;       // S
  double weighted;  // W
};

template <typename scalar>
EARL_INLINE RowStats row_stats(const scalar* logits, int64_t vocab, acc_t<scalar> inverse_temperature) {
  using acc = acc_t<scalar>;
  constexpr acc kInfinity = std::numeric_limits<acc>::infinity();
  constexpr acc kLowest = kExpLowest<acc>;
  acc buffer[kBlock];
  acc max = -kInfinity;
  double sum = 0.0;
  double weighted = 0.0;
  for (int64_t start = 0; start < vocab; start += kBlock) {
    const int64_t size = std::min(kBlock, vocab - start);
    acc block_max = -kInfinity;
#pragma omp simd reduction(max : block_max)
    for (int64_t i = 0; i < size; ++i) {
      const acc value = widen(logits[start + i]);
      buffer[i] = value;
      block_max = value > block_max ? value : block_max;  // NaN is passed over here and caught by the sum
    }
    if (block_max > max) {
      const double delta = (double{max} - double{block_max}) * inverse_temperature;
      const double factor = std::exp(delta);
      weighted = factor > 0.0 ? factor * (weighted + delta * sum) : 0.0;
      sum *= factor;
      max = block_max;
    }
    const acc shift = max == -kInfinity ? acc(0) : max;  // all -inf so far: they add nothing, and a NaN shows
    acc block_sum = 0;
    acc block_weighted = 0;
#pragma omp simd reduction(+ : block_sum, block_weighted)
    for (int64_t i = 0; i < size; ++i) {
      const acc d = (buffer[i] - shift) * inverse_temperature;
      const acc bounded = d < kLowest ? kLowest : d;
      const acc e = d < kLowest ? acc(0) : exp_nonpositive(bounded);
      block_sum += e;
      block_weighted += bounded * e;
    }
    sum += block_sum;
    weighted += block_weighted;
  }
  return {max, sum, weighted};
}

template <typename scalar>
struct ForwardRows {
  using acc = acc_t<scalar>;
  const scalar* logits;
  int64_t row_stride;
  int64_t vocab;
  const int64_t* targets;
  acc inverse_temperature;
  acc* logprob;
  acc* entropy;
  acc* logsumexp;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const scalar* row_logits = logits + row * row_stride;
      const RowStats stats = row_stats(row_logits, vocab, inverse_temperature);
      const double log_sum = std::log(stats.sum);
      const double target = widen(row_logits[targets[row]]);
      logprob[row] = static_cast<acc>((target - stats.max) * inverse_temperature - log_sum);
      entropy[row] = static_cast<acc>(log_sum - stats.weighted / stats.sum);
      logsumexp[row] = static_cast<acc>(stats.max * inverse_temperature + log_sum);
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
  acc inverse_temperature;
  const acc* logsumexp;
  const acc* entropy;
  const acc* grad_logprob;
  const acc* grad_entropy;
  const acc* grad_logsumexp;
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

  // dz = p (grad_logsumexp - grad_logprob - grad_entropy (ln p + H)) / T, plus grad_logprob / T at the target.
  EARL_INLINE void write_row(int64_t row) const {
    constexpr acc kLowest = kExpLowest<acc>;
    const scalar* row_logits = logits + row * row_stride;
    scalar* out = grad_logits + row * vocab;
    const acc scale = inverse_temperature;
    const acc row_logsumexp = logsumexp[row];
    const acc slope = scale * grad_entropy[row];
    const acc constant = scale * (grad_logsumexp[row] - grad_logprob[row] - grad_entropy[row] * entropy[row]);
#pragma omp simd
    for (int64_t i = 0; i < vocab; ++i) {
      const acc raw = widen(row_logits[i]) * scale - row_logsumexp;
      const acc log_p = raw > 0 ? acc(0) : raw;  // rounding of a large logsumexp could make a probability exceed 1
      const acc bounded = log_p < kLowest ? kLowest : log_p;
      const acc p = log_p < kLowest ? acc(0) : exp_nonpositive(bounded);
      narrow(p * (constant - slope * bounded), out[i]);
    }
    // The target again, with 1 - p as -expm1(ln p): near p = 1 the difference would have no digits left.
    const acc log_p = std::min(widen(row_logits[targets[row]]) * scale - row_logsumexp, acc(0));
    const acc bounded = log_p < kLowest ? kLowest : log_p;
    const acc p = std::exp(log_p);
    const acc others = grad_logsumexp[row] - grad_entropy[row] * (bounded + entropy[row]);
    narrow(scale * (p * others - grad_logprob[row] * std::expm1(log_p)), out[targets[row]]);
  }
};

template <typename Body>
void for_rows(const Body& body, int64_t num_rows, int64_t vocab) {
  const int64_t grain = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, vocab));
  at::parallel_for(0, num_rows, grain, [&](int64_t begin, int64_t end) { run_on_best_isa(body, begin, end); });
}

void check_inputs(const at::Tensor& logits, const at::Tensor& targets, double temperature) {
  const char* op = "token_logprob_entropy";
  TORCH_CHECK_VALUE(logits.dim() == 2, op, ": logits must be [N, V], got ", logits.dim(), " dimensions; reshape them");
  TORCH_CHECK_VALUE(logits.size(1) > 0, op, ": logits have a vocabulary of 0 entries; at least one is needed");
  TORCH_CHECK_VALUE(targets.dim() == 1 && targets.size(0) == logits.size(0), op, ": targets must be [", logits.size(0),
                    "], one for each row of logits, got ", targets.sizes());
  TORCH_CHECK_TYPE(targets.scalar_type() == at::kLong, op, ": targets must be int64, got ", targets.scalar_type());
  const float inverse = static_cast<float>(1.0 / temperature);
  TORCH_CHECK_VALUE(inverse > 0.0f && std::isfinite(inverse), op,
                    ": temperature must be a positive, finite number, got ", temperature);
}

void check_targets(const at::Tensor& targets, int64_t vocab) {
  const int64_t* values = targets.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < targets.size(0); ++row) {
    TORCH_CHECK_INDEX(values[row] >= 0 && values[row] < vocab, "token_logprob_entropy: target ", values[row], " of row ",
                      row, " is outside the vocabulary [0, ", vocab, "); mask or drop such rows first");
  }
}

at::Tensor with_dense_rows(const at::Tensor& logits) {
  return logits.stride(1) == 1 || logits.size(1) == 1 ? logits : logits.contiguous();
}

at::ScalarType stats_type(const at::Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& logits, const at::Tensor& targets,
                                                       double temperature) {
  check_inputs(logits, targets, temperature);
  const at::Tensor dense_logits = with_dense_rows(logits);
  const at::Tensor dense_targets = targets.contiguous();
  const int64_t num_rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  check_targets(dense_targets, vocab);
  const auto options = logits.options().dtype(stats_type(logits));
  at::Tensor logprob = at::empty({num_rows}, options);
  at::Tensor entropy = at::empty({num_rows}, options);
  at::Tensor logsumexp = at::empty({num_rows}, options);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), "token_logprob_entropy", [&] {
    using acc = acc_t<scalar_t>;
    const ForwardRows<scalar_t> body{dense_logits.const_data_ptr<scalar_t>(),
                                     dense_logits.stride(0),
                                     vocab,
                                     dense_targets.const_data_ptr<int64_t>(),
                                     static_cast<acc>(1.0 / temperature),
                                     logprob.mutable_data_ptr<acc>(),
                                     entropy.mutable_data_ptr<acc>(),
                                     logsumexp.mutable_data_ptr<acc>()};
    for_rows(body, num_rows, vocab);
  });
  return {logprob, entropy, logsumexp};
}

at::Tensor per_row(const at::Tensor& values, const at::Tensor& logits, const char* name) {
  TORCH_CHECK_VALUE(values.dim() == 1 && values.size(0) == logits.size(0), "token_logprob_entropy_backward: ", name,
                    " must be [", logits.size(0), "], got ", values.sizes());
  TORCH_CHECK_TYPE(values.scalar_type() == stats_type(logits), "token_logprob_entropy_backward: ", name, " must be ",
                   stats_type(logits), " for logits of ", logits.scalar_type(), ", got ", values.scalar_type());
  return values.contiguous();
}

at::Tensor backward(const at::Tensor& grad_logprob, const at::Tensor& grad_entropy, const at::Tensor& grad_logsumexp,
                    const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& logsumexp,
                    const at::Tensor& entropy, double temperature) {
  check_inputs(logits, targets, temperature);
  const at::Tensor dense_logits = with_dense_rows(logits);
  const at::Tensor dense_targets = targets.contiguous();
  const int64_t num_rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  check_targets(dense_targets, vocab);
  const at::Tensor dense_grad_logprob = per_row(grad_logprob, logits, "grad_logprob");
  const at::Tensor dense_grad_entropy = per_row(grad_entropy, logits, "grad_entropy");
  const at::Tensor dense_grad_logsumexp = per_row(grad_logsumexp, logits, "grad_logsumexp");
  const at::Tensor dense_logsumexp = per_row(logsumexp, logits, "logsumexp");
  const at::Tensor dense_entropy = per_row(entropy, logits, "entropy");
  at::Tensor grad_logits = at::empty({num_rows, vocab}, logits.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), "token_logprob_entropy_backward", [&] {
    using acc = acc_t<scalar_t>;
    const BackwardRows<scalar_t> body{dense_logits.const_data_ptr<scalar_t>(),
                                      dense_logits.stride(0),
                                      vocab,
                                      dense_targets.const_data_ptr<int64_t>(),
                                      static_cast<acc>(1.0 / temperature),
                                      dense_logsumexp.const_data_ptr<acc>(),
                                      dense_entropy.const_data_ptr<acc>(),
                                      dense_grad_logprob.const_data_ptr<acc>(),
                                      dense_grad_entropy.const_data_ptr<acc>(),
                                      dense_grad_logsumexp.const_data_ptr<acc>(),
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
