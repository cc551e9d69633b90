// Backward kernel: the gradient of a tile of logits from the gradients of log-prob, entropy and logsumexp of each row.
//
// dz = p (grad_logsumexp - grad_logprob - grad_entropy (ln p + H)) / T, plus grad_logprob / T at the target.
#pragma once

#include "columns.cuh"

namespace earl::cuda {

// ln p is (z - origin) / T + offset, where origin is the logit of probability 1 and offset what its rounding left over:
// no digits of a probable token are lost to a large logsumexp.
template <typename acc>
struct LogitGradient {
  acc scale, origin, offset, entropy, grad_logprob, grad_entropy, grad_logsumexp, slope, constant;
  int64_t target;  // within the slice

  EARL_DEVICE LogitGradient(const RowGradients<acc>& rows, int64_t row, int64_t first_column)
      : scale(static_cast<acc>(rows.inverse_temperature)),
        origin(static_cast<acc>(rows.logsumexp[row] / rows.inverse_temperature)),
        offset(static_cast<acc>(origin * rows.inverse_temperature - rows.logsumexp[row])),
        entropy(rows.entropy[row]),
        grad_logprob(rows.grad_logprob[row]),
        grad_entropy(rows.grad_entropy[row]),
        grad_logsumexp(static_cast<acc>(rows.grad_logsumexp[row])),
        slope(scale * grad_entropy),
        constant(scale * (grad_logsumexp - grad_logprob - grad_entropy * entropy)),
        target(rows.targets[row] - first_column) {}

  EARL_DEVICE bool is_zero() const { return grad_logprob == 0 && grad_entropy == 0 && grad_logsumexp == 0; }

  EARL_DEVICE acc of(acc logit, int column) const {
    const acc raw = (logit - origin) * scale + offset;
    const acc log_p = raw > 0 ? acc(0) : raw;  // rounding could make a probability exceed 1
    const acc bounded = log_p < exp_lowest<acc>() ? exp_lowest<acc>() : log_p;
    const acc p = log_p < exp_lowest<acc>() ? acc(0) : exp_of(bounded);
    if (column != target) return p * (constant - slope * bounded);
    // 1 - p as -expm1(ln p): near p = 1 the difference would have no digits left.
    const acc others = grad_logsumexp - grad_entropy * (bounded + entropy);
    return scale * (p * others - grad_logprob * expm1_of(log_p));
  }
};

// Grid: (rows, slices of the tile). `grad` is [rows, num_columns], contiguous; it may be the logits' own memory
// where the types agree. Rows whose three gradients are zero are not read.
template <typename scalar, typename grad_t>
__global__ void __launch_bounds__(kRowThreads)
    softmax_grad(TileOfLogits<scalar> tile, RowGradients<acc_t<scalar>> rows, grad_t* grad) {
  using acc = acc_t<scalar>;
  const int64_t row = blockIdx.x;
  const int begin = static_cast<int>(blockIdx.y) * tile.slice_columns;
  const int size = smaller(tile.slice_columns, tile.num_columns - begin);
  grad_t* out = grad + row * tile.num_columns + begin;
  const scalar* logits = tile.logits + row * tile.row_stride;
  const LogitGradient<acc> gradient(rows, row, tile.first_column + begin);
  if (gradient.is_zero()) {
    store_zeros(out, size);
    return;
  }
  const acc* bias = tile.bias == nullptr ? nullptr : tile.bias + begin;
  for_logits(logits + begin, bias, size, [&](int column, const auto& values) {
    acc results[sizeof(values) / sizeof(acc)];
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(values) / sizeof(acc)); ++i) results[i] = gradient.of(values[i], column + i);
    store(out + column, results);
  });
}

}  // namespace earl::cuda
