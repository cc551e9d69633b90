// CPU kernels of what a Llama-like layer does besides matrix products: RMSNorm with the residual addition before it,
// rotary positions, SwiGLU; forward and backward. One pass over memory each. What they mean: earl/layer_ops.py.
//
// A row is computed in float (double for double) whatever it is stored in.
#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "parallel.h"

namespace earl {
namespace {

constexpr int64_t kWeightChunks = 16;  // partial sums of a weight's gradient: fixed, so that threads change no bit

// stream: the residual's type (float or double); scalar: what projections multiply in (float, double or BFloat16).
template <typename stream, typename scalar>
struct AddNormRows {
  const stream* x;
  const scalar* delta;  // null: nothing is added
  const stream* weight;
  int64_t width;
  stream eps;
  stream* sum;
  scalar* normed;
  stream* rstd;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const stream* in = x + row * width;
      stream* out = sum + row * width;
      stream squares = 0;
      if (delta != nullptr) {
        const scalar* added = delta + row * width;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < width; ++i) {
          const stream value = in[i] + widen(added[i]);
          out[i] = value;
          squares += value * value;
        }
      } else {
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < width; ++i) {
          out[i] = in[i];
          squares += in[i] * in[i];
        }
      }
      const stream scale = 1 / std::sqrt(squares / width + eps);
      rstd[row] = scale;
      scalar* y = normed + row * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) narrow(out[i] * scale * weight[i], y[i]);
    }
  }
};

// dx = dsum + rstd (w dy - xhat mean(w dy xhat)) with xhat = rstd x; a chunk's share of dw = sum over rows dy xhat.
template <typename stream, typename scalar>
struct AddNormBackwardChunks {
  const stream* grad_sum;  // null: zero
  const scalar* grad_normed;
  const stream* sum;
  const stream* weight;
  const stream* rstd;
  int64_t num_rows;
  int64_t width;
  stream* grad_x;
  stream* grad_weight;  // (kWeightChunks, width), zeros

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = num_rows * chunk / kWeightChunks;
      const int64_t last = num_rows * (chunk + 1) / kWeightChunks;
      for (int64_t row = first; row < last; ++row) one_row(row, grad_weight + chunk * width);
    }
  }

  EARL_INLINE void one_row(int64_t row, stream* weight_sums) const {
    const scalar* dy = grad_normed + row * width;
    const stream* x = sum + row * width;
    const stream scale = rstd[row];
    stream product = 0;
#pragma omp simd reduction(+ : product)
    for (int64_t i = 0; i < width; ++i) {
      const stream slope = widen(dy[i]);
      const stream normalised = x[i] * scale;
      product += slope * weight[i] * normalised;
      weight_sums[i] += slope * normalised;
    }
    const stream mean = product / width;
    stream* dx = grad_x + row * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) dx[i] = scale * (widen(dy[i]) * weight[i] - x[i] * scale * mean);
    if (grad_sum != nullptr) {
      const stream* passed = grad_sum + row * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) dx[i] += passed[i];
    }
  }
};

template <typename acc>
EARL_INLINE acc sigmoid(acc x) {
  const acc exponent = (x < 0 ? x : -x) * static_cast<acc>(kLog2E);
  const acc e = exp2_nonpositive(exponent < kExponentFloor<acc> ? kExponentFloor<acc> : exponent);
  return (x < 0 ? e : acc(1)) / (1 + e);
}

template <typename scalar>
struct SiluMulRows {
  const scalar* gate;
  const scalar* up;
  int64_t gate_stride;
  int64_t up_stride;
  int64_t width;
  scalar* out;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const scalar* g = gate + row * gate_stride;
      const scalar* u = up + row * up_stride;
      scalar* y = out + row * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) {
        const acc_t<scalar> z = widen(g[i]);
        narrow(z * sigmoid(z) * widen(u[i]), y[i]);
      }
    }
  }
};

template <typename scalar>
struct SiluMulBackwardRows {
  const scalar* grad;
  const scalar* gate;
  const scalar* up;
  int64_t gate_stride;
  int64_t up_stride;
  int64_t width;
  scalar* grad_gate;
  scalar* grad_up;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const scalar* dy = grad + row * width;
      const scalar* g = gate + row * gate_stride;
      const scalar* u = up + row * up_stride;
      scalar* dg = grad_gate + row * width;
      scalar* du = grad_up + row * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) {
        const acc_t<scalar> z = widen(g[i]);
        const acc_t<scalar> s = sigmoid(z);
        const acc_t<scalar> slope = widen(dy[i]);
        narrow(slope * z * s, du[i]);
        narrow(slope * widen(u[i]) * s * (1 + z * (1 - s)), dg[i]);
      }
    }
  }
};

template <typename scalar>
struct RotateRows {
  using acc = acc_t<scalar>;
  const scalar* x;
  const acc* cos;
  const acc* sin;
  int64_t heads;
  int64_t half;
  acc sign;  // -1 turns back
  scalar* out;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const acc* c = cos + row * half;
      const acc* s = sin + row * half;
      for (int64_t head = 0; head < heads; ++head) {
        const scalar* in = x + (row * heads + head) * 2 * half;
        scalar* y = out + (row * heads + head) * 2 * half;
#pragma omp simd
        for (int64_t i = 0; i < half; ++i) {
          const acc first = widen(in[i]);
          const acc second = widen(in[half + i]);
          narrow(first * c[i] - sign * second * s[i], y[i]);
          narrow(second * c[i] + sign * first * s[i], y[half + i]);
        }
      }
    }
  }
};

#define EARL_DISPATCH(TYPE, NAME, ...)                                                            \
  AT_DISPATCH_SWITCH(TYPE, NAME, AT_DISPATCH_CASE(at::kFloat, __VA_ARGS__)                        \
                                     AT_DISPATCH_CASE(at::kDouble, __VA_ARGS__)                   \
                                         AT_DISPATCH_CASE(at::kBFloat16, __VA_ARGS__))

void check_rows(const at::Tensor& tensor, const char* op, const char* name) {
  TORCH_CHECK_VALUE(tensor.dim() == 2 && (tensor.stride(1) == 1 || tensor.size(1) == 1), op, ": ", name,
                    " must be [N, width] with dense rows, got ", tensor.sizes(), " with strides ", tensor.strides());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x, const std::optional<at::Tensor>& delta,
                                                            const at::Tensor& weight, double eps,
                                                            at::ScalarType dtype) {
  check_rows(x, "add_rms_norm", "x");
  TORCH_CHECK_VALUE(weight.dim() == 1 && weight.size(0) == x.size(1) && weight.scalar_type() == x.scalar_type(),
                    "add_rms_norm: weight must be [", x.size(1), "] of ", x.scalar_type(), ", got ", weight.sizes(),
                    " of ", weight.scalar_type());
  TORCH_CHECK_TYPE(x.scalar_type() == (dtype == at::kDouble ? at::kDouble : at::kFloat),
                   "add_rms_norm: x must be float32 (float64 for float64), got ", x.scalar_type(), " for ", dtype);
  TORCH_CHECK_VALUE(!delta || (delta->sizes() == x.sizes() && delta->scalar_type() == dtype),
                    "add_rms_norm: delta must have x's shape and the type ", dtype);
  const at::Tensor dense_x = x.contiguous();
  const at::Tensor dense_delta = delta ? delta->contiguous() : at::Tensor();
  const at::Tensor dense_weight = weight.contiguous();
  at::Tensor sum = at::empty_like(dense_x);
  at::Tensor normed = at::empty(x.sizes(), x.options().dtype(dtype));
  at::Tensor rstd = at::empty({x.size(0)}, x.options());
  EARL_DISPATCH(dtype, "add_rms_norm", [&] {
    using stream = acc_t<scalar_t>;
    const AddNormRows<stream, scalar_t> body{dense_x.const_data_ptr<stream>(),
                                             delta ? dense_delta.const_data_ptr<scalar_t>() : nullptr,
                                             dense_weight.const_data_ptr<stream>(),
                                             x.size(1),
                                             static_cast<stream>(eps),
                                             sum.mutable_data_ptr<stream>(),
                                             normed.mutable_data_ptr<scalar_t>(),
                                             rstd.mutable_data_ptr<stream>()};
    for_rows(body, x.size(0), x.size(1));
  });
  return {sum, normed, rstd};
}

std::tuple<at::Tensor, at::Tensor> add_rms_norm_backward(const std::optional<at::Tensor>& grad_sum,
                                                         const at::Tensor& grad_normed, const at::Tensor& sum,
                                                         const at::Tensor& weight, const at::Tensor& rstd) {
  const at::Tensor passed = grad_sum ? grad_sum->contiguous() : at::Tensor();
  const at::Tensor slopes = grad_normed.contiguous();
  const at::Tensor dense_weight = weight.contiguous();
  const int64_t width = sum.size(1);
  at::Tensor grad_x = at::empty_like(sum);
  at::Tensor grad_weight = at::zeros({kWeightChunks, width}, sum.options());
  EARL_DISPATCH(slopes.scalar_type(), "add_rms_norm_backward", [&] {
    using stream = acc_t<scalar_t>;
    const AddNormBackwardChunks<stream, scalar_t> body{grad_sum ? passed.const_data_ptr<stream>() : nullptr,
                                                       slopes.const_data_ptr<scalar_t>(),
                                                       sum.const_data_ptr<stream>(),
                                                       dense_weight.const_data_ptr<stream>(),
                                                       rstd.const_data_ptr<stream>(),
                                                       sum.size(0),
                                                       width,
                                                       grad_x.mutable_data_ptr<stream>(),
                                                       grad_weight.mutable_data_ptr<stream>()};
    for_rows(body, kWeightChunks, std::max<int64_t>(1, sum.size(0) / kWeightChunks) * width);
  });
  return {grad_x, grad_weight.sum(0)};
}

at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  check_rows(gate, "silu_mul", "gate");
  check_rows(up, "silu_mul", "up");
  TORCH_CHECK_VALUE(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(),
                    "silu_mul: gate and up must be alike, got ", gate.sizes(), " and ", up.sizes());
  at::Tensor out = at::empty(gate.sizes(), gate.options());
  EARL_DISPATCH(gate.scalar_type(), "silu_mul", [&] {
    const SiluMulRows<scalar_t> body{gate.const_data_ptr<scalar_t>(), up.const_data_ptr<scalar_t>(), gate.stride(0),
                                     up.stride(0), gate.size(1), out.mutable_data_ptr<scalar_t>()};
    for_rows(body, gate.size(0), gate.size(1));
  });
  return out;
}

std::tuple<at::Tensor, at::Tensor> silu_mul_backward(const at::Tensor& grad, const at::Tensor& gate,
                                                     const at::Tensor& up) {
  const at::Tensor slopes = grad.contiguous();
  at::Tensor grad_gate = at::empty(gate.sizes(), gate.options());
  at::Tensor grad_up = at::empty(up.sizes(), up.options());
  EARL_DISPATCH(gate.scalar_type(), "silu_mul_backward", [&] {
    const SiluMulBackwardRows<scalar_t> body{
        slopes.const_data_ptr<scalar_t>(),      gate.const_data_ptr<scalar_t>(), up.const_data_ptr<scalar_t>(),
        gate.stride(0),                         up.stride(0),                    gate.size(1),
        grad_gate.mutable_data_ptr<scalar_t>(), grad_up.mutable_data_ptr<scalar_t>()};
    for_rows(body, gate.size(0), gate.size(1));
  });
  return {grad_gate, grad_up};
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool is_inverse) {
  TORCH_CHECK_VALUE(x.dim() == 3 && x.size(2) % 2 == 0, "rotate: x must be [N, heads, even width], got ", x.sizes());
  TORCH_CHECK_VALUE(cos.dim() == 2 && cos.size(0) == x.size(0) && cos.size(1) == x.size(2) / 2 &&
                        sin.sizes() == cos.sizes(),
                    "rotate: cos and sin must be [", x.size(0), ", ", x.size(2) / 2, "], got ", cos.sizes(), " and ",
                    sin.sizes());
  const at::Tensor dense = x.contiguous();
  at::Tensor out = at::empty_like(dense);
  EARL_DISPATCH(x.scalar_type(), "rotate", [&] {
    using acc = acc_t<scalar_t>;
    const at::Tensor dense_cos = cos.contiguous();
    const at::Tensor dense_sin = sin.contiguous();
    const RotateRows<scalar_t> body{dense.const_data_ptr<scalar_t>(),
                                    dense_cos.const_data_ptr<acc>(),
                                    dense_sin.const_data_ptr<acc>(),
                                    x.size(1),
                                    x.size(2) / 2,
                                    is_inverse ? acc(-1) : acc(1),
                                    out.mutable_data_ptr<scalar_t>()};
    for_rows(body, x.size(0), x.size(1) * x.size(2));
  });
  return out;
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_FRAGMENT(earl, m) {
  m.def(
      "add_rms_norm(Tensor x, Tensor? delta, Tensor weight, float eps, ScalarType dtype) "
      "-> (Tensor sum, Tensor normed, Tensor rstd)");
  m.def(
      "add_rms_norm_backward(Tensor? grad_sum, Tensor grad_normed, Tensor sum, Tensor weight, Tensor rstd) "
      "-> (Tensor grad_x, Tensor grad_weight)");
  m.def("silu_mul(Tensor gate, Tensor up) -> Tensor");
  m.def("silu_mul_backward(Tensor grad, Tensor gate, Tensor up) -> (Tensor grad_gate, Tensor grad_up)");
  m.def("rotate(Tensor x, Tensor cos, Tensor sin, bool is_inverse) -> Tensor");
}

TORCH_LIBRARY_IMPL(earl, CPU, m) {
  m.impl("add_rms_norm", &earl::add_rms_norm);
  m.impl("add_rms_norm_backward", &earl::add_rms_norm_backward);
  m.impl("silu_mul", &earl::silu_mul);
  m.impl("silu_mul_backward", &earl::silu_mul_backward);
  m.impl("rotate", &earl::rotate);
}
