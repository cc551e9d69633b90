"""The CUDA ops, host code and kernels, built for the CPU: `torch.ops.earl_cuda_on_cpu`."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import include_paths, library_paths

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("cuda_on_cpu.cpp")


def build_on_cpu() -> Path:
    """The library, compiled unless one of the same sources, compiler and torch lies in build/ already."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    assert compiler, "a C++20 compiler is needed: apt-get install g++, or set CXX"
    flags = ["-std=c++20", "-O1", "-g0", "-Wall", "-Wno-unknown-pragmas", "-Werror", "-fPIC", "-shared"]
    command = [compiler, *flags, *(f"-I{path}" for path in [ROOT / "csrc", *include_paths()])]
    command += ["-x", "c++", str(SOURCE), str(ROOT / "csrc/cuda/launchers.cu")]
    command += [*(f"-L{path}" for path in library_paths()), "-ltorch_cpu", "-lc10"]
    sources = sorted([*SOURCE.parent.glob("cuda_*"), *(path for path in (ROOT / "csrc").rglob("*") if path.is_file())])
    digest = hashlib.sha256("\0".join([*command, torch.__version__]).encode())
    for path in sources:
        digest.update(path.read_bytes())
    library = ROOT / "build" / f"cuda_on_cpu_{digest.hexdigest()[:16]}.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        unfinished = library.with_suffix(f".{os.getpid()}")
        run = subprocess.run(
            [*command, "-o", str(unfinished)], capture_output=True, text=True, timeout=600, check=False
        )
        assert run.returncode == 0, run.stderr
        unfinished.rename(library)
    return library


@pytest.fixture(scope="session")
def on_cpu_library() -> Path:
    return build_on_cpu()


@pytest.fixture(scope="session")
def on_cpu(on_cpu_library: Path):
    """The namespace of the ops."""
    torch.ops.load_library(str(on_cpu_library))
    return torch.ops.earl_cuda_on_cpu


@pytest.fixture(scope="session")
def set_reversed(on_cpu_library: Path, on_cpu) -> Callable[[bool], None]:
    """Takes the threads of a block in falling order, or in rising order again."""
    function = ctypes.CDLL(str(on_cpu_library)).earl_set_reversed
    function.argtypes, function.restype = [ctypes.c_bool], None
    return function
