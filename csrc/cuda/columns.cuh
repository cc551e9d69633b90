// How the threads of a block share out the columns of one row: 16 bytes an instruction where the addresses allow it.
#pragma once

#include "device.cuh"

namespace earl::cuda {

constexpr unsigned kRowThreads = 256;

template <typename scalar>
constexpr int kPackSize = 16 / sizeof(scalar);

// Calls `on_pack(column)` for aligned runs of `kPackSize` columns and `on_one(column)` for those before the first and
// after the last of them.
template <typename scalar, typename OnPack, typename OnOne>
EARL_DEVICE void for_columns(const scalar* row, int num_columns, OnPack on_pack, OnOne on_one) {
  constexpr int kCount = kPackSize<scalar>;
  const int head = smaller(elements_to_alignment(row, sizeof(scalar)), num_columns);
  const int num_packs = (num_columns - head) / kCount;
  const int tail = head + num_packs * kCount;
  for (int i = threadIdx.x; i < num_packs; i += kRowThreads) on_pack(head + i * kCount);
  for (int i = threadIdx.x; i < num_columns - num_packs * kCount; i += kRowThreads) {
    on_one(i < head ? i : tail + i - head);
  }
}

// Calls `on_values(column, values)` with runs of widened logits plus bias, in arrays of kPackSize or 1.
template <typename scalar, typename OnValues>
EARL_DEVICE void for_logits(const scalar* row, const acc_t<scalar>* bias, int num_columns, OnValues on_values) {
  using acc = acc_t<scalar>;
  constexpr int kCount = kPackSize<scalar>;
  for_columns(
      row, num_columns,
      [&](int column) {
        const Pack<scalar, kCount> pack = *reinterpret_cast<const Pack<scalar, kCount>*>(row + column);
        acc values[kCount];
#pragma unroll
        for (int i = 0; i < kCount; ++i) values[i] = widen(pack.lane[i]);
        if (bias != nullptr) {
#pragma unroll
          for (int i = 0; i < kCount; ++i) values[i] += bias[column + i];
        }
        on_values(column, values);
      },
      [&](int column) {
        const acc values[1] = {widen(row[column]) + (bias == nullptr ? acc(0) : bias[column])};
        on_values(column, values);
      });
}

// Rounds `values` and stores them: at once where the address allows it.
template <typename T, int count>
EARL_DEVICE void store(T* out, const acc_t<T> (&values)[count]) {
  Pack<T, count> pack;
#pragma unroll
  for (int i = 0; i < count; ++i) pack.lane[i] = narrow<T>(values[i]);
  if (reinterpret_cast<uintptr_t>(out) % alignof(Pack<T, count>) == 0) {
    *reinterpret_cast<Pack<T, count>*>(out) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < count; ++i) out[i] = pack.lane[i];
  }
}

template <typename T>
EARL_DEVICE void store_zeros(T* row, int num_columns) {
  const acc_t<T> zeros[kPackSize<T>] = {};
  for_columns(
      row, num_columns, [&](int column) { store(row + column, zeros); },
      [&](int column) { row[column] = narrow<T>(acc_t<T>(0)); });
}

}  // namespace earl::cuda
