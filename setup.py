"""Builds the compiled ops `earl._C`. All metadata is in pyproject.toml.

CPU kernels always; CUDA kernels too where torch is a CUDA build and nvcc is found (EARL_CUDA=0 leaves them out,
EARL_CUDA=1 makes their absence an error). No -march: the sources pick the instruction set at run time. The OpenMP
runtime is not linked: torch has loaded its own by the time the module is imported, and a second one would be a second
pool of threads.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from setuptools import setup

try:
    import torch
    from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension
except ImportError as error:
    raise SystemExit(
        "earl-rtl: the build of earl._C needs torch in this environment, and torch could not be imported "
        f"({error}). Run `pip install torch==2.13.0`, then `pip install --no-build-isolation -e .`"
    ) from error

COMPILE_ARGS = ["-O3", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-g0", "-Wall"]
GPUS = (80, 90, 100)


def missing_for_cuda() -> str:
    """Why CUDA kernels cannot be built here, or nothing."""
    if os.environ.get("EARL_CUDA") == "0":
        return "EARL_CUDA=0"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is not a CUDA build"
    if CUDA_HOME is None or not Path(CUDA_HOME, "bin", "nvcc").exists():
        return "nvcc was not found; install the CUDA toolkit of torch's version, or set CUDA_HOME"
    return ""


def gpu_targets() -> list[str]:
    """Native code for those of GPUS that nvcc knows, and PTX for later ones; TORCH_CUDA_ARCH_LIST overrides it."""
    if "TORCH_CUDA_ARCH_LIST" in os.environ:
        return []
    nvcc = Path(CUDA_HOME, "bin", "nvcc")
    listed = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True).stdout
    known = [gpu for gpu in GPUS if re.search(rf"\bsm_{gpu}\b", listed)]
    targets = [f"-gencode=arch=compute_{gpu},code=sm_{gpu}" for gpu in known]
    return [*targets, f"-gencode=arch=compute_{known[-1]},code=compute_{known[-1]}"]


def extension():
    """The CPU extension, or the one with CUDA kernels as well."""
    sources = ["csrc/ops.cpp", *sorted(map(str, Path("csrc").glob("*_cpu.cpp")))]
    depends = sorted(str(path) for path in Path("csrc").rglob("*") if path.suffix in (".h", ".cuh"))
    missing = missing_for_cuda()
    if os.environ.get("EARL_CUDA") == "1" and missing:
        raise SystemExit(f"earl-rtl: EARL_CUDA=1 asks for the CUDA kernels, but {missing}")
    print(
        f"earl-rtl: building the CPU {f'kernels only: {missing}' if missing else 'and CUDA kernels'}", file=sys.stderr
    )
    if missing:
        return CppExtension("earl._C", sources=sources, depends=depends, extra_compile_args=COMPILE_ARGS)
    return CUDAExtension(
        "earl._C",
        sources=[*sources, *sorted(map(str, Path("csrc").glob("*_cuda.cpp"))), "csrc/cuda/launchers.cu"],
        depends=depends,
        extra_compile_args={"cxx": COMPILE_ARGS, "nvcc": ["-O3", *gpu_targets()]},
    )


setup(ext_modules=[extension()], cmdclass={"build_ext": BuildExtension})
