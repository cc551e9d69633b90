// CPU kernel of attention over a packed group in bf16, backward. Its forward, and the schemas: group_attention_cpu.cpp.
//
// A task is a key head, with all query heads that share it, and a bundle of segments (prompt and responses, in order).
// What a task adds to the prompt's keys and values lies apart and is summed in order, so that results do not depend on
// the number of threads.
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

#include "group_tiles.h"

namespace earl::tiles {
namespace {

constexpr int64_t kMostBundles = 16;  // each has sums of its own over the prompt

int64_t num_bundles(const Plan& plan) { return std::min(kMostBundles, static_cast<int64_t>(plan.segments.size())); }

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
    const int64_t bundles = num_bundles(plan);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head_kv = task / bundles;
      const int64_t bundle = task % bundles;
      std::fill(buffers.key_sums.begin(), buffers.key_sums.end(), 0.0f);
      std::fill(buffers.value_sums.begin(), buffers.value_sums.end(), 0.0f);
      for (int64_t s = bundle * num_segments / bundles; s < (bundle + 1) * num_segments / bundles; ++s) {
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
      for (int64_t d = 0; d < dim; ++d) {
        sum += widen(slopes.data[r * slopes.stride + d]) * widen(results.data[r * results.stride + d]);
      }
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
        for (int64_t bundle = 0; bundle < num_bundles(plan); ++bundle) {
          const float* part = of_prompt + (2 * (head * num_bundles(plan) + bundle) + which) * size + row * plan.dim;
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
  const int64_t num_tasks = plan.heads_kv * num_bundles(plan);
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
  for_rows(sum, lengths[0] * plan.heads_kv, 2 * plan.dim * num_bundles(plan));
  return {grad_query, grad_key, grad_value};
}

}  // namespace
}  // namespace earl::tiles

TORCH_LIBRARY_IMPL(earl, CPU, m) { m.impl("group_attention_backward", &earl::tiles::backward); }
