// Runs CUDA C++ on the CPU, for tests: the kernels' own source, every thread of every block, barriers and shuffles.
//
// Blocks run one after another. By default the threads of a block are fibres of one OS thread, taken in rising order, or
// in falling order after `set_reversed(true)`: code that lacks a barrier gives a different result. A barrier that only
// part of a block or warp reaches ends the program with a message. With EARL_ON_CPU_THREADS defined each CUDA thread is
// a std::thread, so that ThreadSanitizer sees the accesses and the barriers as they are.
// Not here: speed, several streams, dynamic shared memory, atomics other than those the kernels use.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#ifdef EARL_ON_CPU_THREADS
#include <condition_variable>
#include <thread>
#else
#include <setjmp.h>
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace earl::on_cpu {

constexpr unsigned kWarpSize = 32;

struct Thread {
  dim3 thread_index, block_index;
  unsigned num_exchanges = 0;  // its parity picks one of two slots, so that one barrier an exchange is enough
#ifndef EARL_ON_CPU_THREADS
  ucontext_t start;  // entered once; later switches are jumps, which need no system call
  jmp_buf resume;
  bool is_started = false;
  bool is_done = false;
#endif
};

inline thread_local Thread* current = nullptr;

#ifdef EARL_ON_CPU_THREADS
class Barrier {  // std::barrier would spin first, with hundreds of threads on a few cores
 public:
  explicit Barrier(unsigned num_threads) : num_threads_(num_threads) {}
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    const uint64_t phase = phase_;
    if (++num_arrived_ == num_threads_) {
      num_arrived_ = 0;
      ++phase_;
      all_arrived_.notify_all();
    } else {
      all_arrived_.wait(lock, [&] { return phase != phase_; });
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_arrived_;
  unsigned num_threads_, num_arrived_ = 0;
  uint64_t phase_ = 0;
};
#else
inline jmp_buf scheduler;
inline uint64_t progress = 0;  // arrivals at barriers and ends of threads: a round without any is a deadlock
inline bool is_reversed = false;
inline void set_reversed(bool value) { is_reversed = value; }

inline void yield() {
  if (_setjmp(current->resume) == 0) _longjmp(scheduler, 1);
}

class Barrier {
 public:
  explicit Barrier(unsigned num_threads) : num_threads_(num_threads) {}
  void wait() {
    ++progress;
    const uint64_t phase = phase_;
    if (++num_arrived_ == num_threads_) {
      num_arrived_ = 0;
      ++phase_;
    }
    while (phase == phase_) yield();
  }

 private:
  unsigned num_threads_, num_arrived_ = 0;
  uint64_t phase_ = 0;
};
#endif

struct Warp {
  explicit Warp(unsigned num_threads) : barrier(num_threads) {}
  Barrier barrier;
  uint64_t slots[2][kWarpSize] = {};
};

// What the threads of the kernel that runs now share.
struct Grid {
  Grid(dim3 num_blocks, unsigned num_threads, const std::function<void()>& body)
      : num_blocks(num_blocks), block_size{num_threads, 1, 1}, body(body), block(num_threads), end_of_block(num_threads) {
    for (unsigned first = 0; first < num_threads; first += kWarpSize) {
      warps.push_back(std::make_unique<Warp>(std::min(kWarpSize, num_threads - first)));
    }
  }
  dim3 num_blocks, block_size;
  const std::function<void()>& body;
  Barrier block, end_of_block;
  std::vector<std::unique_ptr<Warp>> warps;
};

inline Grid* grid = nullptr;

inline void run_thread() {
  for (unsigned y = 0; y < grid->num_blocks.y; ++y) {
    for (unsigned x = 0; x < grid->num_blocks.x; ++x) {
      current->block_index = {x, y, 0};
      grid->body();
      grid->end_of_block.wait();
    }
  }
}

#ifdef EARL_ON_CPU_THREADS
inline void run_threads(unsigned num_threads) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < num_threads; ++i) {
    threads.emplace_back([i] {
      Thread self;
      self.thread_index = {i, 0, 0};
      current = &self;
      run_thread();
    });
  }
  for (std::thread& thread : threads) thread.join();
}
#else
inline void enter_fibre() {
  run_thread();
  ++progress;
  current->is_done = true;
  _longjmp(scheduler, 1);
}

// Runs a thread until it waits or ends.
__attribute__((noinline)) inline void run_for_a_while(Thread& thread) {
  current = &thread;
  if (_setjmp(scheduler) != 0) return;
  if (thread.is_started) _longjmp(thread.resume, 1);
  thread.is_started = true;
  setcontext(&thread.start);
}

inline void run_threads(unsigned num_threads) {
  constexpr size_t kStackBytes = 64 << 10;
  static std::vector<std::unique_ptr<char[]>> stacks;  // kept for the next kernel: only one runs at a time
  while (stacks.size() < num_threads) stacks.push_back(std::make_unique_for_overwrite<char[]>(kStackBytes));
  std::vector<Thread> threads(num_threads);
  for (unsigned i = 0; i < num_threads; ++i) {
    threads[i].thread_index = {i, 0, 0};
    getcontext(&threads[i].start);
    threads[i].start.uc_stack.ss_sp = stacks[i].get();
    threads[i].start.uc_stack.ss_size = kStackBytes;
    makecontext(&threads[i].start, enter_fibre, 0);
  }
  for (unsigned num_done = 0; num_done < num_threads;) {
    const uint64_t before = progress;
    for (unsigned i = 0; i < num_threads; ++i) {
      Thread& thread = threads[is_reversed ? num_threads - 1 - i : i];
      if (thread.is_done) continue;
      run_for_a_while(thread);
      num_done += thread.is_done;
    }
    if (progress == before && num_done < num_threads) {
      std::fprintf(stderr, "cuda_on_cpu: deadlock: a barrier or shuffle was reached by only part of a block or warp\n");
      std::abort();
    }
  }
}
#endif

inline void run_grid(dim3 num_blocks, unsigned num_threads, const std::function<void()>& body) {
  static std::mutex one_kernel_at_a_time;
  const std::lock_guard<std::mutex> lock(one_kernel_at_a_time);
  if (num_blocks.x == 0 || num_blocks.y == 0) {
    std::fprintf(stderr, "cuda_on_cpu: a grid of no blocks: on a GPU this launch is an error\n");
    std::abort();
  }
  Grid the_grid(num_blocks, num_threads, body);
  grid = &the_grid;
  run_threads(num_threads);
  grid = nullptr;
}

// The values of all lanes of the calling thread's warp, as seen by each of them.
template <typename T>
const uint64_t* exchange(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  Warp& warp = *grid->warps[current->thread_index.x / kWarpSize];
  uint64_t* slots = warp.slots[current->num_exchanges++ % 2];
  std::memcpy(&slots[current->thread_index.x % kWarpSize], &value, sizeof(T));
  warp.barrier.wait();
  return slots;
}

template <typename T>
T from_lane(T value, unsigned lane) {
  const uint64_t* slots = exchange(value);
  T result;
  std::memcpy(&result, &slots[lane % kWarpSize], sizeof(T));
  return result;
}

}  // namespace earl::on_cpu

#define threadIdx (::earl::on_cpu::current->thread_index)
#define blockIdx (::earl::on_cpu::current->block_index)
#define blockDim (::earl::on_cpu::grid->block_size)
#define gridDim (::earl::on_cpu::grid->num_blocks)

inline void __syncthreads() { ::earl::on_cpu::grid->block.wait(); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned lanes) {
  return ::earl::on_cpu::from_lane(value, (threadIdx.x % ::earl::on_cpu::kWarpSize) ^ lanes);
}

template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  return ::earl::on_cpu::from_lane(value, static_cast<unsigned>(lane));
}

inline unsigned atomicAdd(unsigned* address, unsigned value) {
  return std::atomic_ref<unsigned>(*address).fetch_add(value, std::memory_order_relaxed);
}

inline float __uint_as_float(unsigned value) { return __builtin_bit_cast(float, value); }
inline double __longlong_as_double(long long value) { return __builtin_bit_cast(double, value); }
inline unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }
