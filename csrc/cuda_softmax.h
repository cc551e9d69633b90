// Host side of the softmax kernels, shared by given logits and vocabulary tiles: allocation, grids, launches.
#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "cuda_torch.h"

namespace earl::cuda {

// A tile of logits [rows, columns] with dense rows, from column `first_column` of the vocabulary on. `bias`: of the same
// columns, in the type of the statistics, or undefined.
struct Tile {
  at::Tensor logits;
  at::Tensor bias;
  int64_t first_column = 0;

  template <typename scalar>
  TileOfLogits<scalar> view(int64_t slice_columns) const {
    return {const_pointer<scalar>(logits),
            logits.stride(0),
            bias.defined() ? const_pointer<acc_t<scalar>>(bias) : nullptr,
            first_column,
            static_cast<int>(logits.size(1)),
            static_cast<int>(slice_columns)};
  }
  Blocks blocks(int64_t slice_columns) const {
    return {static_cast<unsigned>(logits.size(0)), num_pieces(logits.size(1), slice_columns)};
  }
};

// Where the parts of rows wait to be merged. Few rows are cut into more slices, so that they fill a GPU; how depends on
// the shape only.
struct Parts {
  int64_t slice_columns;
  int num_parts;
  int num_done = 0;
  at::Tensor states;  // [rows, num_parts, 3]
  at::Tensor chosen;  // [rows]

  Parts(int64_t rows, int64_t vocab, int64_t tile_columns, const at::TensorOptions& options) {
    constexpr int64_t kBlocksWanted = 1024;
    constexpr int64_t kMaxSlice = std::numeric_limits<int>::max() / 2;
    const int64_t slices_wanted = std::max<int64_t>(1, kBlocksWanted / std::max<int64_t>(1, rows));
    slice_columns = std::clamp<int64_t>(tile_columns / slices_wanted, kMinSliceColumns, kMaxSlice);
    slice_columns = (slice_columns + kMinSliceColumns - 1) / kMinSliceColumns * kMinSliceColumns;
    num_parts = 0;
    for (int64_t first = 0; first < vocab; first += tile_columns) {
      num_parts += static_cast<int>(num_pieces(std::min(tile_columns, vocab - first), slice_columns));
    }
    states = at::empty({rows, num_parts, 3}, options);
    chosen = at::empty({rows}, options);
  }
};

// Reduces a tile into its parts. Tiles come in the order of their columns.
template <typename scalar>
void add_tile(const Tile& tile, const at::Tensor& targets, double temperature, Parts& parts) {
  using acc = acc_t<scalar>;
  const Blocks blocks = tile.blocks(parts.slice_columns);
  if (blocks.rows == 0) return;
  launch_softmax_parts(stream(), blocks, tile.view<scalar>(parts.slice_columns), const_pointer<int64_t>(targets),
                       static_cast<acc>(1.0 / temperature), pointer<acc>(parts.states), parts.num_parts, parts.num_done,
                       pointer<acc>(parts.chosen));
  check_launch();
  parts.num_done += static_cast<int>(blocks.slices);
}

// Log-prob, entropy and logsumexp [rows] from all parts.
template <typename acc>
std::tuple<at::Tensor, at::Tensor, at::Tensor> finish(const Parts& parts, const at::Tensor& targets, int64_t vocab,
                                                      double temperature) {
  TORCH_INTERNAL_ASSERT(parts.num_done == parts.num_parts || targets.numel() == 0);
  at::Tensor logprob = at::empty(parts.chosen.sizes(), parts.chosen.options());
  at::Tensor entropy = at::empty(parts.chosen.sizes(), parts.chosen.options());
  at::Tensor logsumexp = at::empty(parts.chosen.sizes(), parts.chosen.options().dtype(at::kDouble));
  if (targets.numel() > 0) {
    const RowStatistics<acc> out{pointer<acc>(logprob), pointer<acc>(entropy), pointer<double>(logsumexp)};
    launch_softmax_finish(stream(), {static_cast<unsigned>(targets.numel())}, const_pointer<acc>(parts.states),
                          parts.num_parts, const_pointer<acc>(parts.chosen), const_pointer<int64_t>(targets), vocab,
                          1.0 / temperature, out);
    check_launch();
  }
  return {logprob, entropy, logsumexp};
}

// What rows have from the forward pass and from above, dense, [rows] each.
struct RowTensors {
  at::Tensor targets, entropy, logsumexp, grad_logprob, grad_entropy, grad_logsumexp;

  template <typename acc>
  RowGradients<acc> view(double temperature) const {
    return {const_pointer<int64_t>(targets),
            const_pointer<acc>(entropy),
            const_pointer<double>(logsumexp),
            const_pointer<acc>(grad_logprob),
            const_pointer<acc>(grad_entropy),
            const_pointer<double>(grad_logsumexp),
            1.0 / temperature};
  }
};

// Writes the gradient of a tile's logits to `grad`, contiguous, which may be the logits themselves.
template <typename scalar, typename grad_t>
void write_gradient(const Tile& tile, const RowTensors& rows, double temperature, const at::Tensor& grad) {
  const Blocks blocks = tile.blocks(kMinSliceColumns);
  if (blocks.rows == 0) return;
  launch_softmax_grad(stream(), blocks, tile.view<scalar>(kMinSliceColumns), rows.view<acc_t<scalar>>(temperature),
                      pointer<grad_t>(grad));
  check_launch();
}

}  // namespace earl::cuda
