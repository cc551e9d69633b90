// CPU kernels of earl::linear_token_logprob_entropy and its backward: the head and the statistics, tile by tile.
//
// A tile is some rows by some columns of the logits. torch's matrix product (its BLAS, or oneDNN for the short types)
// writes it into a buffer that stays in the caches, and the row kernels of rows.h read it there. The vocabulary is the
// outer loop: each part of the weight is read once, and its gradient is finished before the next part begins. The
// backward pass computes the tile again, for the rows that have a gradient, turns it into the logits' gradient in
// place, and multiplies it from both sides.
#include <ATen/Dispatch.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <array>
#include <tuple>
#include <vector>

#include "checks.h"
#include "parallel.h"
#include "rows.h"

namespace earl {

bool cpu_multiplies(at::ScalarType type) {
#if defined(__x86_64__)
  static const bool has_bf16 = __builtin_cpu_supports("avx512bf16");
  if (type == at::kBFloat16) return has_bf16;
#endif
  return type == at::kFloat || type == at::kDouble;
}

namespace {

constexpr const char* kForward = "linear_token_logprob_entropy";
constexpr const char* kBackward = "linear_token_logprob_entropy_backward";
constexpr int64_t kTileRows = 2048;
constexpr int64_t kTileElements = 1 << 21;  // 8 MB in fp32: a share of the last-level cache
constexpr int64_t kMinTileColumns = 256;
constexpr int64_t kMaxTileColumns = 8192;

// The type asked for, or: bf16 as it is where the processor has instructions for it (oneDNN then uses them, AMX
// included); elsewhere widening a tile's factors to fp32 is faster than torch's product of short types, and exact.
at::ScalarType resolve_gemm_type(at::ScalarType storage, std::optional<at::ScalarType> asked) {
  if (asked.has_value()) return *asked;
  return cpu_multiplies(storage) ? storage : at::kFloat;
}

// The first `rows` x `columns` elements of a flat buffer, dense.
at::Tensor shaped(const at::Tensor& buffer, int64_t rows, int64_t columns) {
  return buffer.narrow(0, 0, rows * columns).view({rows, columns});
}

// The rows asked for of a head, and how they are cut into tiles.
struct Head {
  at::Tensor hidden;   // [P, H], in the type that is multiplied
  at::Tensor weight;   // [V, H], as stored
  at::Tensor bias;     // [V] in the statistics' type, or undefined
  at::Tensor targets;  // [P]
  at::ScalarType gemm_type;
  int64_t tile_rows;
  int64_t tile_columns;
  at::Tensor tile_buffer;
  at::Tensor weight_buffer;  // undefined: the stored weight is multiplied as it is

  int64_t num_rows() const { return hidden.size(0); }
  int64_t width() const { return hidden.size(1); }
  int64_t vocab() const { return weight.size(0); }

  Head(const at::Tensor& rows_hidden, const at::Tensor& all_weight, const std::optional<at::Tensor>& all_bias,
       const at::Tensor& rows_targets, at::ScalarType type)
      : hidden(rows_hidden.to(type).contiguous()), weight(all_weight), targets(rows_targets), gemm_type(type) {
    if (all_bias.has_value()) bias = all_bias->to(stats_type(type)).contiguous();
    tile_rows = std::max<int64_t>(1, std::min(num_rows(), kTileRows));
    const int64_t columns = kTileElements / tile_rows / 64 * 64;
    tile_columns = std::min(vocab(), std::clamp(columns, kMinTileColumns, kMaxTileColumns));
    const auto options = hidden.options();
    tile_buffer = at::empty({tile_rows * tile_columns}, options);
    if (weight.scalar_type() != type) weight_buffer = at::empty({tile_columns * width()}, options);
  }

  at::Tensor weight_tile(int64_t start, int64_t columns) const {
    const at::Tensor stored = weight.narrow(0, start, columns);
    if (!weight_buffer.defined()) return stored;
    return shaped(weight_buffer, columns, width()).copy_(stored);
  }

  // Calls visit(start, columns, weight tile) for each part of the vocabulary.
  template <typename Visit>
  void for_columns(const Visit& visit) const {
    for (int64_t start = 0; start < vocab(); start += tile_columns) {
      const int64_t columns = std::min(tile_columns, vocab() - start);
      visit(start, columns, weight_tile(start, columns));
    }
  }

  // Calls visit(first row, rows of hidden, logits) for each block of rows.
  template <typename Visit>
  void for_blocks(const at::Tensor& weight_HC, const Visit& visit) const {
    for (int64_t first = 0; first < num_rows(); first += tile_rows) {
      const int64_t rows = std::min(tile_rows, num_rows() - first);
      at::Tensor logits = shaped(tile_buffer, rows, weight_HC.size(0));
      const at::Tensor block = hidden.narrow(0, first, rows);
      at::mm_out(logits, block, weight_HC.t());
      visit(first, block, logits);
    }
  }
};

// One tile's share of each row's statistics.
template <typename scalar>
struct TileStatistics {
  using acc = acc_t<scalar>;
  const scalar* logits;
  int64_t columns;
  const acc* bias;  // of the tile; null: none
  const int64_t* targets;
  int64_t start;
  Scale<acc> scale;
  RowState<acc>* states;
  acc* target_logits;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const scalar* row_logits = logits + row * columns;
      RowState<acc> state = states[row];
      if (bias == nullptr) {
        accumulate<false>(state, row_logits, bias, columns, scale);
      } else {
        accumulate<true>(state, row_logits, bias, columns, scale);
      }
      states[row] = state;
      const int64_t at = targets[row] - start;
      if (at >= 0 && at < columns) target_logits[row] = widen(row_logits[at]) + (bias == nullptr ? acc(0) : bias[at]);
    }
  }
};

// One tile's logits replaced by their gradient.
template <typename scalar>
struct TileGradient {
  using acc = acc_t<scalar>;
  scalar* logits;
  int64_t columns;
  const acc* bias;  // of the tile; null: none
  const int64_t* targets;
  int64_t start;
  const RowGradient<acc>* gradients;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      scalar* row_logits = logits + row * columns;
      const int64_t at = targets[row] - start;
      const bool has_target = at >= 0 && at < columns;
      const acc target_logit =
          has_target ? widen(row_logits[at]) + (bias == nullptr ? acc(0) : bias[at]) : acc(0);
      const RowGradient<acc> gradient = gradients[row];
      if (bias == nullptr) {
        gradient.template write<false>(row_logits, bias, columns, row_logits);
      } else {
        gradient.template write<true>(row_logits, bias, columns, row_logits);
      }
      if (has_target) narrow(gradient.at_target(target_logit), row_logits[at]);
    }
  }
};

void check_head(const char* op, const at::Tensor& hidden, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, const at::Tensor& targets, double temperature) {
  TORCH_CHECK_VALUE(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), op,
                    ": hidden must be [N, H] and weight [V, H], got ", hidden.sizes(), " and ", weight.sizes(),
                    "; flatten the batch and check the head");
  TORCH_CHECK_TYPE(hidden.scalar_type() == weight.scalar_type() && hidden.is_floating_point(), op, ": hidden is ",
                    hidden.scalar_type(), " and weight ", weight.scalar_type(),
                    "; cast one of them to the other's floating type");
  TORCH_CHECK_VALUE(weight.size(0) > 0, op, ": weight has a vocabulary of 0 entries; at least one is needed");
  if (bias.has_value()) {
    TORCH_CHECK_VALUE(bias->dim() == 1 && bias->size(0) == weight.size(0) && bias->is_floating_point(), op,
                      ": bias must be floating-point [", weight.size(0), "], got ", bias->scalar_type(), " ",
                      bias->sizes());
  }
  check_temperature(op, temperature);
  check_targets(op, targets, hidden.size(0), weight.size(0));
}

void check_gemm_type(const char* op, at::ScalarType storage, at::ScalarType gemm_type) {
  const bool is_floating = gemm_type == at::kFloat || gemm_type == at::kDouble || gemm_type == at::kBFloat16 ||
                           gemm_type == at::kHalf;
  TORCH_CHECK_TYPE(is_floating && (storage == at::kDouble) == (gemm_type == at::kDouble), op, ": gemm_dtype ",
                   gemm_type, " does not go with inputs of ", storage, "; leave it out, or ask for fp32, bf16 or fp16");
}

void check_positions(const char* op, const at::Tensor& positions, int64_t num_rows) {
  TORCH_CHECK_VALUE(positions.dim() == 1 && positions.scalar_type() == at::kLong, op,
                    ": positions must be int64 [P], got ", positions.scalar_type(), " ", positions.sizes());
  const at::Tensor dense = positions.contiguous();
  const int64_t* values = dense.const_data_ptr<int64_t>();
  int64_t previous = -1;
  for (int64_t i = 0; i < dense.size(0); ++i) {
    TORCH_CHECK_INDEX(values[i] > previous && values[i] < num_rows, op, ": positions must rise within [0, ", num_rows,
                      "), got ", values[i], " after ", previous);
    previous = values[i];
  }
}

at::Tensor pick(const at::Tensor& values, const at::Tensor& rows) {
  return rows.defined() ? at::index_select(values, 0, rows) : values;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& hidden, const at::Tensor& weight,
                                                       const std::optional<at::Tensor>& bias,
                                                       const at::Tensor& targets, double temperature,
                                                       const std::optional<at::Tensor>& positions,
                                                       std::optional<at::ScalarType> gemm_dtype) {
  const at::AutoDispatchBelowAutograd without_autograd;
  check_head(kForward, hidden, weight, bias, targets, temperature);
  if (positions.has_value()) check_positions(kForward, *positions, hidden.size(0));
  const at::ScalarType gemm_type = resolve_gemm_type(hidden.scalar_type(), gemm_dtype);
  check_gemm_type(kForward, hidden.scalar_type(), gemm_type);
  const at::Tensor rows = positions.value_or(at::Tensor());
  const Head head(pick(hidden, rows), weight, bias, pick(targets, rows).contiguous(), gemm_type);
  const int64_t num_rows = head.num_rows();
  const auto options = hidden.options().dtype(stats_type(gemm_type));
  at::Tensor logprob = at::empty({num_rows}, options);
  at::Tensor entropy = at::empty({num_rows}, options);
  at::Tensor logsumexp = at::empty({num_rows}, options.dtype(at::kDouble));
  if (num_rows == 0) return {logprob, entropy, logsumexp};
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, gemm_type, kForward, [&] {
    using acc = acc_t<scalar_t>;
    const Scale<acc> scale(temperature);
    const int64_t* target_data = head.targets.const_data_ptr<int64_t>();
    const acc* bias_data = head.bias.defined() ? head.bias.const_data_ptr<acc>() : nullptr;
    std::vector<RowState<acc>> states(num_rows);
    std::vector<acc> target_logits(num_rows);
    head.for_columns([&](int64_t start, int64_t columns, const at::Tensor& weight_tile) {
      head.for_blocks(weight_tile, [&](int64_t first, const at::Tensor&, const at::Tensor& logits) {
        const TileStatistics<scalar_t> body{logits.const_data_ptr<scalar_t>(),
                                            columns,
                                            bias_data == nullptr ? nullptr : bias_data + start,
                                            target_data + first,
                                            start,
                                            scale,
                                            states.data() + first,
                                            target_logits.data() + first};
        for_rows(body, logits.size(0), columns);
      });
    });
    for (int64_t row = 0; row < num_rows; ++row) {
      finish(states[row], target_logits[row], scale, logprob.mutable_data_ptr<acc>() + row,
             entropy.mutable_data_ptr<acc>() + row, logsumexp.mutable_data_ptr<double>() + row);
    }
  });
  return {logprob, entropy, logsumexp};
}

// Products summed in fp32 (fp64) over calls: in place where that is the type multiplied, else each product apart.
class Accumulator {
 public:
  Accumulator(at::Tensor sum, at::Tensor product) : sum_(std::move(sum)), product_(std::move(product)) {}

  void add(const at::Tensor& left, const at::Tensor& right, bool is_first) {
    if (left.scalar_type() != sum_.scalar_type()) {
      at::mm_out(product_, left, right);
      is_first ? sum_.copy_(product_) : sum_.add_(product_);
    } else if (is_first) {
      at::mm_out(sum_, left, right);
    } else {
      at::addmm_out(sum_, sum_, left, right);
    }
  }

  const at::Tensor& sum() const { return sum_; }

 private:
  at::Tensor sum_;
  at::Tensor product_;
};

// The gradients that are asked for, filled tile by tile. Undefined ones are not.
class HeadGradients {
 public:
  HeadGradients(const Head& head, std::array<bool, 3> needs)
      : head_(head), needs_(needs), options_(head.hidden.options()), sum_options_(options_.dtype(stats_type(head.gemm_type))) {
    if (needs_[0]) hidden_ = at::empty({head.num_rows(), head.width()}, sum_options_);
    if (needs_[1]) weight_ = at::empty(head.weight.sizes(), head.weight.options());
    if (needs_[2]) bias_ = at::zeros({head.vocab()}, sum_options_);
    if (needs_[1]) weight_sum_ = at::empty({head.tile_columns * head.width()}, sum_options_);
    const int64_t longest = std::max(needs_[0] ? head.tile_rows : 0, needs_[1] ? head.tile_columns : 0);
    if (head.gemm_type != stats_type(head.gemm_type)) product_ = at::empty({longest * head.width()}, options_);
  }

  void add_block(int64_t start, int64_t first, const at::Tensor& weight_tile, const at::Tensor& hidden_block,
                 const at::Tensor& grad_logits) {
    const int64_t rows = grad_logits.size(0);
    const int64_t columns = grad_logits.size(1);
    if (needs_[0]) sum(hidden_.narrow(0, first, rows)).add(grad_logits, weight_tile, start == 0);
    if (needs_[1]) sum(shaped(weight_sum_, columns, head_.width())).add(grad_logits.t(), hidden_block, first == 0);
    if (needs_[2]) bias_.narrow(0, start, columns).add_(at::sum(grad_logits, {0}, false, bias_.scalar_type()));
  }

  void finish_columns(int64_t start, int64_t columns) {
    if (needs_[1]) weight_.narrow(0, start, columns).copy_(shaped(weight_sum_, columns, head_.width()));
  }

  const at::Tensor& hidden() const { return hidden_; }
  const at::Tensor& weight() const { return weight_; }
  const at::Tensor& bias() const { return bias_; }

 private:
  Accumulator sum(const at::Tensor& into) const {
    return {into, product_.defined() ? shaped(product_, into.size(0), into.size(1)) : product_};
  }

  const Head& head_;
  std::array<bool, 3> needs_;
  at::TensorOptions options_;
  at::TensorOptions sum_options_;
  at::Tensor hidden_, weight_, bias_;
  at::Tensor weight_sum_, product_;
};

// Rows of the outputs whose gradient is not zero, and what their logits' gradient is made of.
template <typename acc>
struct ActiveRows {
  std::vector<int64_t> rows;
  std::vector<RowGradient<acc>> gradients;

  ActiveRows(const std::array<at::Tensor, 5>& columns, double temperature) {
    const acc* grad_logprob = columns[0].const_data_ptr<acc>();
    const acc* grad_entropy = columns[1].const_data_ptr<acc>();
    const double* grad_logsumexp = columns[2].const_data_ptr<double>();
    const acc* entropy = columns[3].const_data_ptr<acc>();
    const double* logsumexp = columns[4].const_data_ptr<double>();
    const Scale<acc> scale(temperature);
    for (int64_t row = 0; row < columns[0].size(0); ++row) {
      if (grad_logprob[row] == 0 && grad_entropy[row] == 0 && grad_logsumexp[row] == 0) continue;
      rows.push_back(row);
      gradients.emplace_back(grad_logprob[row], grad_entropy[row], static_cast<acc>(grad_logsumexp[row]), entropy[row],
                             logsumexp[row], scale);
    }
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(
    const at::Tensor& grad_logprob, const at::Tensor& grad_entropy, const at::Tensor& grad_logsumexp,
    const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    const at::Tensor& targets, const at::Tensor& entropy, const at::Tensor& logsumexp, double temperature,
    const std::optional<at::Tensor>& positions, std::optional<at::ScalarType> gemm_dtype, std::array<bool, 3> needs) {
  const at::AutoDispatchBelowAutograd without_autograd;
  check_head(kBackward, hidden, weight, bias, targets, temperature);
  if (positions.has_value()) check_positions(kBackward, *positions, hidden.size(0));
  const at::ScalarType gemm_type = resolve_gemm_type(hidden.scalar_type(), gemm_dtype);
  check_gemm_type(kBackward, hidden.scalar_type(), gemm_type);
  const int64_t num_outputs = positions.has_value() ? positions->size(0) : hidden.size(0);
  const auto type = stats_type(gemm_type);
  const std::array<at::Tensor, 5> columns = {per_row(kBackward, grad_logprob, num_outputs, type, "grad_logprob"),
                                             per_row(kBackward, grad_entropy, num_outputs, type, "grad_entropy"),
                                             per_row(kBackward, grad_logsumexp, num_outputs, at::kDouble, "grad_logsumexp"),
                                             per_row(kBackward, entropy, num_outputs, type, "entropy"),
                                             per_row(kBackward, logsumexp, num_outputs, at::kDouble, "logsumexp")};
  const bool needs_bias = needs[2] && bias.has_value();
  at::Tensor grad_hidden = needs[0] ? at::zeros_like(hidden, at::MemoryFormat::Contiguous) : at::empty({0}, hidden.options());
  at::Tensor grad_weight = at::empty({0}, weight.options());
  at::Tensor grad_bias = at::empty({0}, bias.has_value() ? bias->options() : weight.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, gemm_type, kBackward, [&] {
    using acc = acc_t<scalar_t>;
    const ActiveRows<acc> active(columns, temperature);
    if (active.rows.empty()) {
      if (needs[1]) grad_weight = at::zeros(weight.sizes(), weight.options());
      if (needs_bias) grad_bias = at::zeros(bias->sizes(), bias->options());
      return;
    }
    const at::Tensor outputs = at::tensor(active.rows, targets.options());
    const at::Tensor rows = positions.has_value() ? at::index_select(*positions, 0, outputs) : outputs;
    const Head head(pick(hidden, rows), weight, bias, pick(targets, rows), gemm_type);
    HeadGradients gradients(head, {needs[0], needs[1], needs_bias});
    const int64_t* target_data = head.targets.const_data_ptr<int64_t>();
    const acc* bias_data = head.bias.defined() ? head.bias.const_data_ptr<acc>() : nullptr;
    head.for_columns([&](int64_t start, int64_t num_columns, const at::Tensor& weight_tile) {
      head.for_blocks(weight_tile, [&](int64_t first, const at::Tensor& hidden_block, const at::Tensor& logits) {
        const TileGradient<scalar_t> body{logits.mutable_data_ptr<scalar_t>(),
                                          num_columns,
                                          bias_data == nullptr ? nullptr : bias_data + start,
                                          target_data + first,
                                          start,
                                          active.gradients.data() + first};
        for_rows(body, logits.size(0), num_columns);
        gradients.add_block(start, first, weight_tile, hidden_block, logits);
      });
      gradients.finish_columns(start, num_columns);
    });
    if (needs[0]) grad_hidden.index_copy_(0, rows, gradients.hidden().to(hidden.scalar_type()));
    if (needs[1]) grad_weight = gradients.weight();
    if (needs_bias) grad_bias = gradients.bias().to(bias->scalar_type());
  });
  return {grad_hidden, grad_weight, grad_bias};
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_IMPL(earl, CPU, m) {
  m.impl("linear_token_logprob_entropy", &earl::forward);
  m.impl("linear_token_logprob_entropy_backward", &earl::backward);
}
