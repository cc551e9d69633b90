// Checks of arguments that several ops share, and the types they work in. Each names the op, what it got, what to do.
#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <initializer_list>
#include <optional>

namespace earl {

inline at::ScalarType stats_type(at::ScalarType type) { return type == at::kDouble ? at::kDouble : at::kFloat; }

inline void check_temperature(const char* op, double temperature) {
  const float inverse = static_cast<float>(1.0 / temperature);
  TORCH_CHECK_VALUE(inverse > 0.0f && std::isfinite(inverse), op,
                    ": temperature must be a positive, finite number, got ", temperature);
}

// The values of targets on a GPU are not read, as that would wait for it: there a target outside gives NaN.
inline void check_targets(const char* op, const at::Tensor& targets, int64_t num_rows, int64_t vocab) {
  TORCH_CHECK_VALUE(targets.dim() == 1 && targets.size(0) == num_rows, op, ": targets must be [", num_rows,
                    "], one for each row, got ", targets.sizes());
  TORCH_CHECK_TYPE(targets.scalar_type() == at::kLong, op, ": targets must be int64, got ", targets.scalar_type());
  if (!targets.is_cpu()) return;
  const at::Tensor dense = targets.contiguous();
  const int64_t* values = dense.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < num_rows; ++row) {
    TORCH_CHECK_INDEX(values[row] >= 0 && values[row] < vocab, op, ": target ", values[row], " of row ", row,
                      " is outside the vocabulary [0, ", vocab, "); mask or drop such rows first");
  }
}

inline void check_logits(const char* op, const at::Tensor& logits, const at::Tensor& targets, double temperature) {
  TORCH_CHECK_VALUE(logits.dim() == 2, op, ": logits must be [N, V], got ", logits.dim(), " dimensions; reshape them");
  const at::ScalarType type = logits.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf, op,
                   ": logits must be float32, float64, bfloat16 or float16, got ", type);
  TORCH_CHECK_VALUE(logits.size(1) > 0, op, ": logits have a vocabulary of 0 entries; at least one is needed");
  check_temperature(op, temperature);
  check_targets(op, targets, logits.size(0), logits.size(1));
}

// A kernel is given pointers: one of another device would be read as if it were its own.
inline void check_device(const char* op, const at::Tensor& first, std::initializer_list<std::optional<at::Tensor>> others) {
  for (const std::optional<at::Tensor>& other : others) {
    TORCH_CHECK_VALUE(!other.has_value() || other->device() == first.device(), op,
                      ": all tensors must be on one device, got ", first.device(), " and ", other->device());
  }
}

// `values` as a dense vector of one entry a row.
inline at::Tensor per_row(const char* op, const at::Tensor& values, int64_t num_rows, at::ScalarType type,
                          const char* name) {
  TORCH_CHECK_VALUE(values.dim() == 1 && values.size(0) == num_rows, op, ": ", name, " must be [", num_rows, "], got ",
                    values.sizes());
  TORCH_CHECK_TYPE(values.scalar_type() == type, op, ": ", name, " must be ", type, ", got ", values.scalar_type());
  return values.contiguous();
}

inline at::Tensor with_dense_rows(const at::Tensor& matrix) {
  return matrix.stride(1) == 1 || matrix.size(1) == 1 ? matrix : matrix.contiguous();
}

}  // namespace earl
