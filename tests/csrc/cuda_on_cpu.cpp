// The CUDA ops, host code and kernels, built for the CPU as torch.ops.earl_cuda_on_cpu: for tests.
#define EARL_CUDA_ON_CPU

#include "cuda_on_cpu.h"
#include "cuda_torch_all.h"
#include "schemas.h"

TORCH_LIBRARY(earl_cuda_on_cpu, m) { earl::define_ops(m); }

#ifndef EARL_ON_CPU_THREADS
// Takes the threads of a block in falling order from now on.
extern "C" void earl_set_reversed(bool value) { earl::on_cpu::set_reversed(value); }
#endif
