// A packed group as the tiled attention sees it: segments of rows, tiles of 64 rows in the layouts that the products
// want, and which tiles of keys a tile of queries sees.
//
// Queries and keys are cut into tiles of 64. A tile's products are torch's brgemm (VDPBF16PS, AMX where it is there),
// which sums in fp32; everything between two products stays in the cache.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "parallel.h"

namespace earl::tiles {

using at::BFloat16;
constexpr int64_t kTile = 64;  // queries, or keys, side by side
constexpr int64_t kSquare = kTile * kTile;

inline int64_t num_tiles(int64_t length) { return (length + kTile - 1) / kTile; }

// C [64 or D, columns] = A B, or += : A is dense with `depth` columns, B in pairs of rows: [depth / 2][columns][2].
inline void multiply(int64_t rows, int64_t columns, int64_t depth, const BFloat16* a, const BFloat16* b, float* c, bool is_first) {
  at::native::cpublas::brgemm(rows, columns, depth, depth, columns, columns, !is_first, a, b, c, true);
}

// Rows of one head in a packed tensor [N, heads, D].
struct Rows {
  const BFloat16* data;
  int64_t stride;  // from row to row
};

struct Packed {
  const BFloat16* data;
  int64_t row_stride;
  int64_t head_stride;

  explicit Packed(const at::Tensor& tensor)
      : data(tensor.const_data_ptr<BFloat16>()), row_stride(tensor.stride(0)), head_stride(tensor.stride(1)) {}

  Rows rows(int64_t first, int64_t head) const { return {data + first * row_stride + head * head_stride, row_stride}; }
};

// Tiles are padded with zeros to 64 rows. The layouts of a tile [64, D]:
// as it is.
EARL_INLINE void copy_tile(const Rows& rows, int64_t count, int64_t dim, BFloat16* out) {
  for (int64_t r = 0; r < count; ++r) std::memcpy(static_cast<void*>(out + r * dim), rows.data + r * rows.stride, dim * 2);
  std::memset(static_cast<void*>(out + count * dim), 0, (kTile - count) * dim * 2);
}

// [D / 2][64][2]: the transposed tile in pairs of its rows.
EARL_INLINE void pair_columns(const BFloat16* tile, int64_t dim, BFloat16* out) {
  for (int64_t d = 0; d < dim / 2; ++d) {
    for (int64_t r = 0; r < kTile; ++r) {
      std::memcpy(static_cast<void*>(out + 2 * (d * kTile + r)), tile + r * dim + 2 * d, 4);
    }
  }
}

// [32][columns][2]: a tile [64, columns] in pairs of its rows.
EARL_INLINE void pair_rows(const BFloat16* tile, int64_t columns, BFloat16* out) {
  for (int64_t r = 0; r < kTile; r += 2) {
    const BFloat16* even = tile + r * columns;
    const BFloat16* odd = even + columns;
    BFloat16* pairs = out + r * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      pairs[2 * c].x = even[c].x;
      pairs[2 * c + 1].x = odd[c].x;
    }
  }
}

// [D][64].
EARL_INLINE void transpose_tile(const BFloat16* tile, int64_t dim, BFloat16* out) {
  for (int64_t d = 0; d < dim; ++d) {
    for (int64_t r = 0; r < kTile; ++r) out[d * kTile + r] = tile[r * dim + d];
  }
}

EARL_INLINE float exp2_clamped(float t) {
  t = t < kExponentFloor<float> ? kExponentFloor<float> : t;
  return exp2_nonpositive(t > 0.0f ? 0.0f : t);
}

// Rows that attend to themselves, causally, and to all of the prompt before (none, where they are the prompt).
struct Segment {
  int64_t first;
  int64_t length;
  int64_t first_tile;  // of its own keys
  int64_t prompt_length;
};

// How a group is cut: prompt first.
struct Plan {
  int64_t heads_kv, share, dim;
  float scale;
  std::vector<Segment> segments;
  int64_t total_tiles = 0;

  Plan(const at::Tensor& query, const at::Tensor& key, at::IntArrayRef lengths, double scaling)
      : heads_kv(key.size(1)), share(query.size(1) / key.size(1)), dim(key.size(2)), scale(static_cast<float>(scaling)) {
    int64_t first = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      if (lengths[i] > 0) {
        segments.push_back({first, lengths[i], total_tiles, i == 0 ? 0 : lengths[0]});
        total_tiles += num_tiles(lengths[i]);
      }
      first += lengths[i];
    }
  }

  int64_t num_tasks() const { return heads_kv * static_cast<int64_t>(segments.size()); }
  int64_t tile_size() const { return kTile * dim; }
  int64_t most_seen() const {
    int64_t most = 0;
    for (const Segment& s : segments) most = std::max(most, num_tiles(s.prompt_length) + num_tiles(s.length));
    return most;
  }
};

// A tile of keys that a tile of queries sees: where it is, and which of its keys.
struct Seen {
  int64_t tile;      // of the group
  int64_t num_keys;  // 64, or fewer in the prompt's last tile
  bool is_diagonal;  // query r sees keys up to r only
};

// The k-th tile of keys that query tile `i` of a segment sees, of `num_prompt + i + 1`.
EARL_INLINE Seen seen_tile(const Segment& segment, int64_t i, int64_t k) {
  const int64_t num_prompt = num_tiles(segment.prompt_length);
  if (k < num_prompt) return {k, std::min(kTile, segment.prompt_length - k * kTile), false};
  return {segment.first_tile + k - num_prompt, kTile, k - num_prompt == i};
}

// Room for all tiles of keys, or values, in one layout: [heads_kv][tiles].
inline at::Tensor empty_tiles(const Plan& plan, const at::Tensor& like) {
  return at::empty({plan.heads_kv * plan.total_tiles * plan.tile_size()}, like.options());
}

struct PackKeys {
  const Plan& plan;
  Packed key, value;
  BFloat16 *plain_key, *plain_value, *key_columns, *transposed_key, *value_pairs;  // null: not wanted

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    std::vector<BFloat16> tile(plan.tile_size());
    const int64_t num_segments = static_cast<int64_t>(plan.segments.size());
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head = task / num_segments;
      const Segment& segment = plan.segments[task % num_segments];
      for (int64_t j = 0; j < num_tiles(segment.length); ++j) {
        const int64_t count = std::min(kTile, segment.length - j * kTile);
        const int64_t at = (head * plan.total_tiles + segment.first_tile + j) * plan.tile_size();
        copy_tile(key.rows(segment.first + j * kTile, head), count, plan.dim, tile.data());
        if (plain_key) std::copy(tile.begin(), tile.end(), plain_key + at);
        if (key_columns) pair_columns(tile.data(), plan.dim, key_columns + at);
        if (transposed_key) transpose_tile(tile.data(), plan.dim, transposed_key + at);
        copy_tile(value.rows(segment.first + j * kTile, head), count, plan.dim, tile.data());
        if (plain_value) std::copy(tile.begin(), tile.end(), plain_value + at);
        if (value_pairs) pair_rows(tile.data(), plan.dim, value_pairs + at);
      }
    }
  }
};

inline void check(const char* op, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, at::IntArrayRef lengths) {
  TORCH_CHECK_VALUE(query.dim() == 3 && key.dim() == 3 && key.sizes() == value.sizes() && query.size(0) == key.size(0) &&
                        query.size(2) == key.size(2) && key.size(1) > 0 && query.size(1) % key.size(1) == 0,
                    op, ": query must be [N, heads, D], key and value [N, heads_kv, D], got ", query.sizes(), ", ",
                    key.sizes(), " and ", value.sizes());
  TORCH_CHECK_VALUE(query.size(2) % 16 == 0, op, ": heads must be a multiple of 16 wide, got ", query.size(2));
  int64_t total = 0;
  for (const int64_t length : lengths) {
    TORCH_CHECK_VALUE(length >= 0, op, ": lengths must not be negative, got ", lengths);
    total += length;
  }
  TORCH_CHECK_VALUE(!lengths.empty() && lengths[0] > 0 && total == query.size(0), op, ": lengths ", lengths,
                    " must be those of a prompt and its responses, ", query.size(0), " tokens in all");
  for (const at::Tensor& tensor : {query, key, value}) {
    TORCH_CHECK_TYPE(tensor.scalar_type() == at::kBFloat16, op, ": inputs must be bfloat16, got ", tensor.scalar_type());
    TORCH_CHECK_VALUE(tensor.stride(2) == 1, op, ": heads must be dense in memory");
  }
}

template <typename Body>
void for_tasks(const Body& body, int64_t num_tasks) {
  at::parallel_for(0, num_tasks, 1, [&](int64_t begin, int64_t end) { run_on_best_isa(body, begin, end); });
}

}  // namespace earl::tiles
