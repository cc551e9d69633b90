// CPU kernels of attention over a packed group in bf16, forward and backward: the prompt on itself, each response on the
// prompt and on itself, causal. What they mean: earl/group_flash.py.
//
// Queries and keys are cut into tiles of 64. A tile's products are torch's brgemm (VDPBF16PS, AMX where it is there),
// which sums in fp32; everything between two products stays in the cache. A task is a key head, with all query heads that
// share it, and a segment (the prompt, or a response); in the backward pass a few segments. What these add to the prompt's
// keys and values lies apart for each task and is summed in order, so that results do not depend on the number of threads.
#include <ATen/core/Tensor.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "parallel.h"

namespace earl {
namespace {

using at::BFloat16;
constexpr int64_t kTile = 64;  // queries, or keys, side by side
constexpr int64_t kSquare = kTile * kTile;
constexpr int64_t kMostBundles = 16;  // of segments in the backward pass: each has sums of its own over the prompt

int64_t num_tiles(int64_t length) { return (length + kTile - 1) / kTile; }

// C [64 or D, columns] = A B, or += : A is dense with `depth` columns, B in pairs of rows: [depth / 2][columns][2].
void multiply(int64_t rows, int64_t columns, int64_t depth, const BFloat16* a, const BFloat16* b, float* c, bool is_first) {
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
  int64_t num_bundles() const { return std::min(kMostBundles, static_cast<int64_t>(segments.size())); }
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
at::Tensor empty_tiles(const Plan& plan, const at::Tensor& like) {
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

struct Forward {
  const Plan& plan;
  Packed query;
  const BFloat16* key_columns;
  const BFloat16* value_pairs;
  BFloat16* context;  // [N, heads, D], dense
  float* logsumexp;   // [N, heads]

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    const int64_t most = plan.most_seen();
    std::vector<BFloat16> query_tile(plan.tile_size()), probs(most * kSquare);
    std::vector<float> scores(most * kSquare), mixed(plan.tile_size());
    const int64_t num_segments = static_cast<int64_t>(plan.segments.size());
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head_kv = task / num_segments;
      const Segment& segment = plan.segments[task % num_segments];
      for (int64_t head = head_kv * plan.share; head < (head_kv + 1) * plan.share; ++head) {
        for (int64_t i = 0; i < num_tiles(segment.length); ++i) {
          one(head_kv, head, segment, i, query_tile.data(), scores.data(), probs.data(), mixed.data());
        }
      }
    }
    at::native::cpublas::brgemm_release(true);
  }

  EARL_INLINE void one(int64_t head_kv, int64_t head, const Segment& segment, int64_t i, BFloat16* query_tile,
                       float* scores, BFloat16* probs, float* mixed) const {
    const int64_t dim = plan.dim;
    const int64_t first = segment.first + i * kTile;
    const int64_t count = std::min(kTile, segment.length - i * kTile);
    const int64_t num_seen = num_tiles(segment.prompt_length) + i + 1;
    copy_tile(query.rows(first, head), count, dim, query_tile);
    for (int64_t k = 0; k < num_seen; ++k) {
      const int64_t at = (head_kv * plan.total_tiles + seen_tile(segment, i, k).tile) * plan.tile_size();
      multiply(kTile, kTile, dim, query_tile, key_columns + at, scores + k * kSquare, true);
    }
    std::array<float, kTile> sums;
    for (int64_t r = 0; r < count; ++r) softmax(segment, i, r, num_seen, scores, probs, first, head, sums[r]);
    for (int64_t k = 0; k < num_seen; ++k) {
      const int64_t at = (head_kv * plan.total_tiles + seen_tile(segment, i, k).tile) * plan.tile_size();
      multiply(kTile, dim, kTile, probs + k * kSquare, value_pairs + at, mixed, k == 0);
    }
    for (int64_t r = 0; r < count; ++r) {
      BFloat16* out = context + ((first + r) * plan.heads_kv * plan.share + head) * dim;
      const float share = 1.0f / sums[r];
#pragma omp simd
      for (int64_t d = 0; d < dim; ++d) narrow(mixed[r * dim + d] * share, out[d]);
    }
  }

  // Turns a row of scores into 2^(score - maximum), and keeps their sum and the row's log-sum-exp.
  EARL_INLINE void softmax(const Segment& segment, int64_t i, int64_t r, int64_t num_seen, float* scores, BFloat16* probs,
                           int64_t first, int64_t head, float& sum) const {
    const float base = plan.scale * static_cast<float>(kLog2E);
    float max = -std::numeric_limits<float>::infinity();
    for (int64_t k = 0; k < num_seen; ++k) {
      float* row = scores + k * kSquare + r * kTile;
      const Seen seen = seen_tile(segment, i, k);
      const int64_t valid = seen.is_diagonal ? r + 1 : seen.num_keys;
      if (valid < kTile) {
        for (int64_t c = valid; c < kTile; ++c) row[c] = -std::numeric_limits<float>::infinity();
      }
#pragma omp simd reduction(max : max)
      for (int64_t c = 0; c < kTile; ++c) max = row[c] > max ? row[c] : max;
    }
    sum = 0.0f;
    for (int64_t k = 0; k < num_seen; ++k) {
      const float* row = scores + k * kSquare + r * kTile;
      BFloat16* out = probs + k * kSquare + r * kTile;
#pragma omp simd reduction(+ : sum)
      for (int64_t c = 0; c < kTile; ++c) {
        const float e = exp2_clamped((row[c] - max) * base);
        sum += e;
        narrow(e, out[c]);
      }
    }
    logsumexp[(first + r) * plan.heads_kv * plan.share + head] = max * plan.scale + std::log(sum);
  }
};

struct Backward {
  const Plan& plan;
  Packed query, context, grad_context;
  const float* logsumexp;
  const BFloat16 *key, *value, *transposed_key;
  BFloat16 *grad_query, *grad_key, *grad_value;  // [N, heads, D], dense
  float* of_prompt;  // [heads_kv][bundles][2][prompt tiles][64][D]: what each task adds to the prompt's keys and values

  struct Buffers {
    std::vector<BFloat16> tile, query_columns, query_pairs, slope_columns, slope_pairs, probs, slopes, slope_of_pairs;
    std::vector<float> scores, products, query_sum, key_sums, value_sums;

    Buffers(int64_t tile_size, int64_t most)
        : tile(tile_size), query_columns(tile_size), query_pairs(tile_size), slope_columns(tile_size),
          slope_pairs(tile_size), probs(kSquare), slopes(kSquare), slope_of_pairs(kSquare), scores(kSquare),
          products(kSquare), query_sum(tile_size), key_sums(most * tile_size), value_sums(most * tile_size) {}
  };

  int64_t of_prompt_size() const { return num_tiles(plan.segments.front().length) * plan.tile_size(); }

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    Buffers buffers(plan.tile_size(), plan.most_seen());
    const int64_t num_segments = static_cast<int64_t>(plan.segments.size());
    const int64_t num_bundles = plan.num_bundles();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head_kv = task / num_bundles;
      const int64_t bundle = task % num_bundles;
      std::fill(buffers.key_sums.begin(), buffers.key_sums.end(), 0.0f);
      std::fill(buffers.value_sums.begin(), buffers.value_sums.end(), 0.0f);
      for (int64_t s = bundle * num_segments / num_bundles; s < (bundle + 1) * num_segments / num_bundles; ++s) {
        all_of(plan.segments[s], head_kv, buffers);
      }
      std::copy_n(buffers.key_sums.data(), of_prompt_size(), of_prompt + 2 * task * of_prompt_size());
      std::copy_n(buffers.value_sums.data(), of_prompt_size(), of_prompt + (2 * task + 1) * of_prompt_size());
    }
    at::native::cpublas::brgemm_release(true);
  }

  // Adds to the prompt's sums, which come first; a response's own are written out and cleared.
  EARL_INLINE void all_of(const Segment& segment, int64_t head_kv, Buffers& buffers) const {
    for (int64_t head = head_kv * plan.share; head < (head_kv + 1) * plan.share; ++head) {
      for (int64_t i = 0; i < num_tiles(segment.length); ++i) one(head_kv, head, segment, i, buffers);
    }
    if (segment.prompt_length == 0) return;
    const int64_t size = num_tiles(segment.length) * plan.tile_size();
    float* own_keys = buffers.key_sums.data() + of_prompt_size();
    float* own_values = buffers.value_sums.data() + of_prompt_size();
    write(segment, head_kv, own_keys, grad_key);
    write(segment, head_kv, own_values, grad_value);
    std::fill_n(own_keys, size, 0.0f);
    std::fill_n(own_values, size, 0.0f);
  }

  EARL_INLINE void write(const Segment& segment, int64_t head_kv, const float* sums, BFloat16* out) const {
    for (int64_t r = 0; r < segment.length; ++r) {
      BFloat16* row = out + ((segment.first + r) * plan.heads_kv + head_kv) * plan.dim;
#pragma omp simd
      for (int64_t d = 0; d < plan.dim; ++d) narrow(sums[r * plan.dim + d], row[d]);
    }
  }

  // A tile of queries: scores and their gradient come transposed, [keys][queries], as the products with them want it.
  EARL_INLINE void one(int64_t head_kv, int64_t head, const Segment& segment, int64_t i, Buffers& b) const {
    const int64_t dim = plan.dim;
    const int64_t heads = plan.heads_kv * plan.share;
    const int64_t first = segment.first + i * kTile;
    const int64_t count = std::min(kTile, segment.length - i * kTile);
    std::array<float, kTile> delta{}, offset{};
    const Rows slopes = grad_context.rows(first, head);
    const Rows results = context.rows(first, head);
    for (int64_t r = 0; r < count; ++r) {
      float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
      for (int64_t d = 0; d < dim; ++d) sum += widen(slopes.data[r * slopes.stride + d]) * widen(results.data[r * results.stride + d]);
      delta[r] = sum;
      offset[r] = logsumexp[(first + r) * heads + head] * static_cast<float>(kLog2E);
    }
    copy_tile(query.rows(first, head), count, dim, b.tile.data());
    pair_columns(b.tile.data(), dim, b.query_columns.data());
    pair_rows(b.tile.data(), dim, b.query_pairs.data());
    copy_tile(slopes, count, dim, b.tile.data());
    pair_columns(b.tile.data(), dim, b.slope_columns.data());
    pair_rows(b.tile.data(), dim, b.slope_pairs.data());
    const int64_t num_seen = num_tiles(segment.prompt_length) + i + 1;
    for (int64_t k = 0; k < num_seen; ++k) {
      const Seen seen = seen_tile(segment, i, k);
      const int64_t at = (head_kv * plan.total_tiles + seen.tile) * plan.tile_size();
      multiply(kTile, kTile, dim, key + at, b.query_columns.data(), b.scores.data(), true);
      multiply(kTile, kTile, dim, value + at, b.slope_columns.data(), b.products.data(), true);
      differentiate(seen, delta, offset, b);
      pair_rows(b.slopes.data(), kTile, b.slope_of_pairs.data());
      float* key_sum = b.key_sums.data() + k * plan.tile_size();
      float* value_sum = b.value_sums.data() + k * plan.tile_size();
      multiply(kTile, dim, kTile, b.probs.data(), b.slope_pairs.data(), value_sum, false);
      multiply(kTile, dim, kTile, b.slopes.data(), b.query_pairs.data(), key_sum, false);
      multiply(dim, kTile, kTile, transposed_key + at, b.slope_of_pairs.data(), b.query_sum.data(), k == 0);
    }
    for (int64_t r = 0; r < count; ++r) {
      BFloat16* out = grad_query + ((first + r) * heads + head) * dim;
      for (int64_t d = 0; d < dim; ++d) narrow(b.query_sum[d * kTile + r], out[d]);
    }
  }

  // Probabilities and the scores' gradient of a tile, [keys][queries]; padded queries have a gradient of zero.
  EARL_INLINE void differentiate(const Seen& seen, const std::array<float, kTile>& delta,
                                 const std::array<float, kTile>& offset, Buffers& b) const {
    const float base = plan.scale * static_cast<float>(kLog2E);
    for (int64_t c = 0; c < kTile; ++c) {
      const float* score = b.scores.data() + c * kTile;
      const float* product = b.products.data() + c * kTile;
      BFloat16* prob = b.probs.data() + c * kTile;
      BFloat16* slope = b.slopes.data() + c * kTile;
      const int32_t from = c >= seen.num_keys ? kTile : seen.is_diagonal ? static_cast<int32_t>(c) : 0;
#pragma omp simd
      for (int32_t r = 0; r < static_cast<int32_t>(kTile); ++r) {
        const float e = exp2_clamped(score[r] * base - offset[r]);
        const float p = r < from ? 0.0f : e;
        narrow(p, prob[r]);
        narrow(p * (product[r] - delta[r]) * plan.scale, slope[r]);
      }
    }
  }
};

// The prompt's keys and values: the sum over the bundles of a key head, in order.
struct SumPrompt {
  const Plan& plan;
  const float* of_prompt;
  BFloat16 *grad_key, *grad_value;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    const Segment& prompt = plan.segments.front();
    const int64_t size = num_tiles(prompt.length) * plan.tile_size();
    std::vector<float> sum(plan.dim);
    for (int64_t item = begin; item < end; ++item) {  // a row and a key head
      const int64_t row = item / plan.heads_kv;
      const int64_t head = item % plan.heads_kv;
      for (int which = 0; which < 2; ++which) {
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (int64_t bundle = 0; bundle < plan.num_bundles(); ++bundle) {
          const float* part = of_prompt + (2 * (head * plan.num_bundles() + bundle) + which) * size + row * plan.dim;
#pragma omp simd
          for (int64_t d = 0; d < plan.dim; ++d) sum[d] += part[d];
        }
        BFloat16* out = (which == 0 ? grad_key : grad_value) + ((prompt.first + row) * plan.heads_kv + head) * plan.dim;
#pragma omp simd
        for (int64_t d = 0; d < plan.dim; ++d) narrow(sum[d], out[d]);
      }
    }
  }
};

void check(const char* op, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, at::IntArrayRef lengths) {
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

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                           at::IntArrayRef lengths, double scaling) {
  check("group_attention", query, key, value, lengths);
  const Plan plan(query, key, lengths, scaling);
  at::Tensor context = at::empty(query.sizes(), query.options());
  at::Tensor logsumexp = at::empty({query.size(0), query.size(1)}, query.options().dtype(at::kFloat));
  at::Tensor key_columns = empty_tiles(plan, key);
  at::Tensor value_pairs = empty_tiles(plan, key);
  const PackKeys pack{plan,    Packed(key), Packed(value), nullptr, nullptr, key_columns.mutable_data_ptr<BFloat16>(),
                      nullptr, value_pairs.mutable_data_ptr<BFloat16>()};
  for_tasks(pack, plan.num_tasks());
  const Forward body{plan,
                     Packed(query),
                     key_columns.const_data_ptr<BFloat16>(),
                     value_pairs.const_data_ptr<BFloat16>(),
                     context.mutable_data_ptr<BFloat16>(),
                     logsumexp.mutable_data_ptr<float>()};
  for_tasks(body, plan.num_tasks());
  return {context, logsumexp};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad_context, const at::Tensor& query,
                                                        const at::Tensor& key, const at::Tensor& value,
                                                        const at::Tensor& context, const at::Tensor& logsumexp,
                                                        at::IntArrayRef lengths, double scaling) {
  const char* op = "group_attention_backward";
  check(op, query, key, value, lengths);
  TORCH_CHECK_VALUE(grad_context.sizes() == query.sizes() && context.sizes() == query.sizes() &&
                        logsumexp.dim() == 2 && logsumexp.size(0) == query.size(0) && logsumexp.size(1) == query.size(1),
                    op, ": context, its gradient and logsumexp must be those of query ", query.sizes());
  TORCH_CHECK_TYPE(grad_context.scalar_type() == at::kBFloat16 && context.scalar_type() == at::kBFloat16 &&
                       logsumexp.scalar_type() == at::kFloat, op, ": context and its gradient must be bfloat16, logsumexp float32");
  const Plan plan(query, key, lengths, scaling);
  const at::Tensor slopes = grad_context.contiguous();
  const at::Tensor results = context.contiguous();
  const at::Tensor sums = logsumexp.contiguous();
  at::Tensor grad_query = at::empty(query.sizes(), query.options());
  at::Tensor grad_key = at::empty(key.sizes(), key.options());
  at::Tensor grad_value = at::empty(value.sizes(), value.options());
  std::array<at::Tensor, 3> tiles = {empty_tiles(plan, key), empty_tiles(plan, key), empty_tiles(plan, key)};
  const PackKeys pack{plan, Packed(key), Packed(value), tiles[0].mutable_data_ptr<BFloat16>(),
                      tiles[1].mutable_data_ptr<BFloat16>(), nullptr, tiles[2].mutable_data_ptr<BFloat16>(), nullptr};
  for_tasks(pack, plan.num_tasks());
  const int64_t num_tasks = plan.heads_kv * plan.num_bundles();
  at::Tensor of_prompt = at::empty({2 * num_tasks * num_tiles(lengths[0]) * plan.tile_size()}, sums.options());
  const Backward body{plan,
                      Packed(query),
                      Packed(results),
                      Packed(slopes),
                      sums.const_data_ptr<float>(),
                      tiles[0].const_data_ptr<BFloat16>(),
                      tiles[1].const_data_ptr<BFloat16>(),
                      tiles[2].const_data_ptr<BFloat16>(),
                      grad_query.mutable_data_ptr<BFloat16>(),
                      grad_key.mutable_data_ptr<BFloat16>(),
                      grad_value.mutable_data_ptr<BFloat16>(),
                      of_prompt.mutable_data_ptr<float>()};
  for_tasks(body, num_tasks);
  const SumPrompt sum{plan, of_prompt.const_data_ptr<float>(), grad_key.mutable_data_ptr<BFloat16>(),
                      grad_value.mutable_data_ptr<BFloat16>()};
  for_rows(sum, lengths[0] * plan.heads_kv, 2 * plan.dim * plan.num_bundles());
  return {grad_query, grad_key, grad_value};
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_FRAGMENT(earl, m) {
  // query [N, heads, D], key and value [N, heads_kv, D] in bf16; lengths: the prompt's, then each response's, N in all.
  m.def(
      "group_attention(Tensor query, Tensor key, Tensor value, int[] lengths, float scaling) "
      "-> (Tensor context, Tensor logsumexp)");
  m.def(
      "group_attention_backward(Tensor grad_context, Tensor query, Tensor key, Tensor value, Tensor context, "
      "Tensor logsumexp, int[] lengths, float scaling) -> (Tensor grad_query, Tensor grad_key, Tensor grad_value)");
}

TORCH_LIBRARY_IMPL(earl, CPU, m) {
  m.impl("group_attention", &earl::forward);
  m.impl("group_attention_backward", &earl::backward);
}
