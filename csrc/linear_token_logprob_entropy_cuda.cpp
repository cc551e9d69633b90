// CUDA side of earl::linear_token_logprob_entropy and its backward: logits exist one vocabulary tile at a time.
//
// A tile is a product of the rows asked for with a slice of the head, by the library (tensor cores for 16-bit types),
// summed and kept in fp32; our kernels reduce it at once, or turn it into its own gradient, which two more products
// consume. The backward pass computes only rows that have a gradient: finding them is its one wait for the GPU.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <array>
#include <optional>

#include "cuda_softmax.h"

namespace earl::cuda {
namespace {

constexpr const char* kLinearForward = "linear_token_logprob_entropy";
constexpr const char* kLinearBackward = "linear_token_logprob_entropy_backward";

#ifdef EARL_CUDA_ON_CPU
constexpr int64_t kMinTileColumns = 64;
constexpr int64_t kMaxTileColumns = 128;  // several tiles for small shapes
#else
constexpr int64_t kMinTileColumns = 1 << 10;
constexpr int64_t kMaxTileColumns = 1 << 15;
#endif
constexpr int64_t kTileBytes = 64 << 20;

// Rows that are computed: their hidden states, and how the vocabulary is cut into tiles for them.
struct Head {
  at::ScalarType type;  // of the products
  at::Tensor hidden;    // [rows, H]
  at::Tensor weight;    // [V, H], in its own type: each tile is converted when it is used
  at::Tensor bias;      // [V] in the type of the statistics, or undefined
  int64_t tile_columns;
  at::Tensor buffer;

  int64_t rows() const { return hidden.size(0); }
  int64_t vocab() const { return weight.size(0); }
  int64_t columns_from(int64_t first) const { return std::min(tile_columns, vocab() - first); }
  at::Tensor weight_tile(int64_t first) const { return weight.narrow(0, first, columns_from(first)).to(type); }

  Tile logits(int64_t first, const at::Tensor& weight_tile) const {
    const int64_t columns = weight_tile.size(0);
    const at::Tensor logits = buffer.narrow(0, 0, rows() * columns).view({rows(), columns});
    multiply(logits, hidden, weight_tile.t());
    return {logits, bias.defined() ? bias.narrow(0, first, columns) : at::Tensor(), first};
  }
};

void check_head(const char* op, const at::Tensor& hidden, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& positions,
                const std::optional<at::ScalarType>& gemm_dtype) {
  TORCH_CHECK_VALUE(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), op,
                    ": hidden must be [N, H] and weight [V, H], got ", hidden.sizes(), " and ", weight.sizes());
  TORCH_CHECK_VALUE(weight.size(0) > 0, op, ": weight has a vocabulary of 0 entries; at least one is needed");
  TORCH_CHECK_TYPE(gemm_dtype.has_value() || hidden.scalar_type() == weight.scalar_type(), op, ": hidden is ",
                   hidden.scalar_type(), " and weight ", weight.scalar_type(), "; cast one of them or give gemm_dtype");
  TORCH_CHECK_VALUE(!bias.has_value() || (bias->dim() == 1 && bias->size(0) == weight.size(0)), op, ": bias must be [",
                    weight.size(0), "], one for each entry of the vocabulary");
  TORCH_CHECK_VALUE(!positions.has_value() || (positions->dim() == 1 && positions->scalar_type() == at::kLong), op,
                    ": positions must be int64 [P]");
}

Head make_head(const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
               const std::optional<at::Tensor>& rows, const std::optional<at::ScalarType>& gemm_dtype) {
  Head head;
  head.type = gemm_dtype.value_or(hidden.scalar_type());
  const auto stats = stats_type(head.type);
  head.hidden = (rows.has_value() ? hidden.index_select(0, *rows) : hidden).to(head.type).contiguous();
  head.weight = weight;
  if (bias.has_value()) head.bias = bias->to(stats).contiguous();
  const int64_t row_bytes = std::max<int64_t>(1, head.rows()) * static_cast<int64_t>(c10::elementSize(stats));
  const int64_t fitting = kTileBytes / row_bytes / kMinTileColumns * kMinTileColumns;
  head.tile_columns = std::min(std::clamp(fitting, kMinTileColumns, kMaxTileColumns), head.vocab());
  head.buffer = at::empty({head.rows() * head.tile_columns}, hidden.options().dtype(stats));
  return head;
}

at::Tensor selected(const at::Tensor& values, const std::optional<at::Tensor>& rows) {
  return (rows.has_value() ? values.index_select(0, *rows) : values).contiguous();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> linear_token_logprob_entropy(
    const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    const at::Tensor& targets, double temperature, const std::optional<at::Tensor>& positions,
    std::optional<at::ScalarType> gemm_dtype) {
  const at::AutoDispatchBelowAutograd without_autograd;
  check_device(kLinearForward, hidden, {weight, bias, targets, positions});
  check_head(kLinearForward, hidden, weight, bias, positions, gemm_dtype);
  check_temperature(kLinearForward, temperature);
  check_targets(kLinearForward, targets, hidden.size(0), weight.size(0));
  const DeviceOf guard(hidden.device());
  const Head head = make_head(hidden, weight, bias, positions, gemm_dtype);
  const at::Tensor row_targets = selected(targets, positions);
  Parts parts(head.rows(), head.vocab(), head.tile_columns, head.buffer.options());
  return AT_DISPATCH_FLOATING_TYPES(head.buffer.scalar_type(), kLinearForward, [&] {
    for (int64_t first = 0; first < head.vocab(); first += head.tile_columns) {
      add_tile<scalar_t>(head.logits(first, head.weight_tile(first)), row_targets, temperature, parts);
    }
    return finish<scalar_t>(parts, row_targets, head.vocab(), temperature);
  });
}

// Which of the rows have any gradient, in order.
at::Tensor active_rows(const RowTensors& rows) {
  return rows.grad_logprob.ne(0)
      .logical_or(rows.grad_entropy.ne(0))
      .logical_or(rows.grad_logsumexp.ne(0))
      .nonzero()
      .squeeze(-1);
}

// out = a b in any type of `out`.
void multiply_into(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  const bool is_direct = out.scalar_type() == a.scalar_type() || out.scalar_type() == stats_type(a.scalar_type());
  if (is_direct) return multiply(out, a, b);
  const at::Tensor product = at::empty(out.sizes(), a.options());
  multiply(product, a, b);
  out.copy_(product);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> linear_token_logprob_entropy_backward(
    const at::Tensor& grad_logprob, const at::Tensor& grad_entropy, const at::Tensor& grad_logsumexp,
    const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    const at::Tensor& targets, const at::Tensor& entropy, const at::Tensor& logsumexp, double temperature,
    const std::optional<at::Tensor>& positions, std::optional<at::ScalarType> gemm_dtype, std::array<bool, 3> needs) {
  const at::AutoDispatchBelowAutograd without_autograd;
  check_device(kLinearBackward, hidden,
               {weight, bias, targets, positions, entropy, logsumexp, grad_logprob, grad_entropy, grad_logsumexp});
  check_head(kLinearBackward, hidden, weight, bias, positions, gemm_dtype);
  check_temperature(kLinearBackward, temperature);
  check_targets(kLinearBackward, targets, hidden.size(0), weight.size(0));
  const DeviceOf guard(hidden.device());
  const int64_t num_rows = positions.has_value() ? positions->size(0) : hidden.size(0);
  const auto stats = stats_type(gemm_dtype.value_or(hidden.scalar_type()));
  const auto row = [&](const at::Tensor& values, at::ScalarType type, const char* name) {
    return per_row(kLinearBackward, values, num_rows, type, name);
  };
  RowTensors rows{selected(targets, positions),
                  row(entropy, stats, "entropy"),
                  row(logsumexp, at::kDouble, "logsumexp"),
                  row(grad_logprob, stats, "grad_logprob"),
                  row(grad_entropy, stats, "grad_entropy"),
                  row(grad_logsumexp, at::kDouble, "grad_logsumexp")};
  const at::Tensor active = active_rows(rows);
  for (at::Tensor* values : {&rows.targets, &rows.entropy, &rows.logsumexp, &rows.grad_logprob, &rows.grad_entropy,
                             &rows.grad_logsumexp}) {
    *values = values->index_select(0, active);
  }
  const at::Tensor hidden_rows = positions.has_value() ? positions->index_select(0, active) : active;
  const Head head = make_head(hidden, weight, bias, hidden_rows, gemm_dtype);
  const at::Tensor none = at::empty({0}, hidden.options());
  at::Tensor grad_hidden_rows = needs[0] ? at::zeros(head.hidden.sizes(), head.buffer.options()) : none;
  const at::Tensor product = needs[0] && head.type != stats ? at::empty_like(grad_hidden_rows) : none;
  at::Tensor grad_weight = needs[1] ? at::empty(weight.sizes(), weight.options()) : none;
  at::Tensor grad_bias = needs[2] && bias.has_value() ? at::empty(bias->sizes(), bias->options()) : none;
  const at::Tensor gradients = head.type == stats ? head.buffer : at::empty(head.buffer.sizes(), hidden.options().dtype(head.type));
  for (int64_t first = 0; first < head.vocab(); first += head.tile_columns) {
    const at::Tensor weight_tile = head.weight_tile(first);
    const Tile tile = head.logits(first, weight_tile);
    const at::Tensor grad = gradients.narrow(0, 0, tile.logits.numel()).view(tile.logits.sizes());
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, head.type, kLinearBackward, [&] {
      using grad_t = kernel_t<scalar_t>;
      write_gradient<acc_t<grad_t>, grad_t>(tile, rows, temperature, grad);
    });
    if (needs[0]) multiply_add(grad_hidden_rows, grad, weight_tile, product);
    if (needs[1]) multiply_into(grad_weight.narrow(0, first, grad.size(1)), grad.t(), head.hidden);
    if (grad_bias.numel() > 0) grad_bias.narrow(0, first, grad.size(1)).copy_(grad.sum(0, false, stats));
  }
  at::Tensor grad_hidden = none;
  if (needs[0]) {
    grad_hidden = at::zeros(hidden.sizes(), hidden.options());
    grad_hidden.index_copy_(0, hidden_rows, grad_hidden_rows.to(hidden.scalar_type()));
  }
  return {grad_hidden, grad_weight, grad_bias};
}

}  // namespace
}  // namespace earl::cuda

TORCH_LIBRARY_IMPL(EARL_CUDA_LIBRARY, EARL_CUDA_KEY, m) {
  m.impl("linear_token_logprob_entropy", &earl::cuda::linear_token_logprob_entropy);
  m.impl("linear_token_logprob_entropy_backward", &earl::cuda::linear_token_logprob_entropy_backward);
}
