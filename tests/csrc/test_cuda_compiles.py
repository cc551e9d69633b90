"""The CUDA sources are compiled for each GPU that setup.py names; nothing here runs on one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from torch.utils.cpp_extension import include_paths

ROOT = Path(__file__).resolve().parents[2]
GPUS = re.search(r"^GPUS = \((.+?)\)", (ROOT / "setup.py").read_text(), re.MULTILINE)[1].split(", ")
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")


def _resources(log: str) -> dict[tuple[str, str], dict[str, int]]:
    """(kernel, GPU) -> registers and bytes spilled, from what ptxas -v reports."""
    entry = re.compile(
        r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<gpu>\d+)'.*?"
        r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
        re.DOTALL,
    )
    names = [match["name"] for match in entry.finditer(log)]
    readable = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    found = {}
    for match, name in zip(entry.finditer(log), readable.splitlines(), strict=True):
        kernel = re.search(r"earl::cuda::(\w+(?:<[^(]*>)?)\(", name)
        assert kernel, name
        kernel_name = kernel[1].replace("earl::cuda::", "")
        spilled = int(match["stores"]) + int(match["loads"])
        found[kernel_name, match["gpu"]] = {"registers": int(match["registers"]), "spilled": spilled}
    return found


@needs_nvcc
def test_kernels_compile_for_each_gpu_and_do_not_spill(tmp_path):
    targets = [f"-gencode=arch=compute_{gpu},code=sm_{gpu}" for gpu in GPUS]
    command = [NVCC, "-std=c++17", "-O3", *targets, "--fatbin", "-Xptxas", "-v", str(ROOT / "csrc/cuda/launchers.cu")]
    run = subprocess.run(
        [*command, "-o", str(tmp_path / "kernels.fatbin")], capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "warning" not in run.stderr
    resources = _resources(run.stderr)
    assert {gpu for _, gpu in resources} == set(GPUS)
    assert len({kernel for kernel, _ in resources}) == len(resources) / len(GPUS) >= 20
    assert {kernel: used for kernel, used in resources.items() if used["spilled"]} == {}
    # 65,536 registers of a multiprocessor and blocks of 256 threads: room for three blocks.
    assert max(used["registers"] for used in resources.values()) <= 80


@needs_nvcc
def test_host_code_of_the_cuda_ops_is_right_for_a_cuda_torch(tmp_path):
    # torch's CPU build has the headers of its CUDA side, but for one that its build generates.
    generated = tmp_path / "c10/cuda/impl/cuda_cmake_macros.h"
    generated.parent.mkdir(parents=True)
    generated.write_text("#pragma once\n")
    cuda_include = Path(NVCC).resolve().parents[1] / "include"
    if not (cuda_include / "cuda_runtime_api.h").exists():
        cuda_include = Path("/usr/local/cuda/include")
    folders = [ROOT / "csrc", tmp_path, *include_paths(), cuda_include]
    source = tmp_path / "all.cpp"
    source.write_text(f'#include "{ROOT / "tests/csrc/cuda_torch_all.h"}"\n')
    run = subprocess.run(
        ["g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Werror", *(f"-I{folder}" for folder in folders), str(source)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
