// CPU kernel of attention over a packed group in bf16, forward: the prompt on itself, each response on the prompt and on
// itself, causal. What it means: earl/group_flash.py. Its gradient: group_attention_backward_cpu.cpp.
//
// A task is a key head, with all query heads that share it, and a segment (the prompt, or a response).
#include <torch/library.h>

#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "group_tiles.h"

namespace earl::tiles {
namespace {

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

}  // namespace
}  // namespace earl::tiles

TORCH_LIBRARY_FRAGMENT(earl, m) {
  // query [N, heads, D], key and value [N, heads_kv, D] in bf16; lengths: the prompt's, then each response's, N in all.
  m.def(
      "group_attention(Tensor query, Tensor key, Tensor value, int[] lengths, float scaling) "
      "-> (Tensor context, Tensor logsumexp)");
  m.def(
      "group_attention_backward(Tensor grad_context, Tensor query, Tensor key, Tensor value, Tensor context, "
      "Tensor logsumexp, int[] lengths, float scaling) -> (Tensor grad_query, Tensor grad_key, Tensor grad_value)");
}

TORCH_LIBRARY_IMPL(earl, CPU, m) { m.impl("group_attention", &earl::tiles::forward); }
