"""benchmarks/gpu_check.py where there is no GPU: its refusal, and its checks on the CPU's kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earl import ops

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu_check(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_check

    yield gpu_check
    for name in ("gpu_check", "kernel_cases"):
        sys.modules.pop(name, None)


def test_without_a_gpu_it_says_so_and_exits_3():
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_check.py")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 3
    assert "no CUDA device" in run.stderr
    assert not run.stdout


def test_its_comparisons_hold_for_the_cpu_ops(gpu_check):
    findings = list(gpu_check.check_ops("cpu"))
    assert {finding.op for finding in findings} == {
        "token_logprob_entropy",
        "linear_token_logprob_entropy",
        "token_statistics",
        "entropy_gate",
        "gated_surrogate",
    }
    assert [finding for finding in findings if not finding.is_right] == []


def test_it_finds_an_op_that_is_wrong(gpu_check, monkeypatch):
    right = ops.token_logprob_entropy

    def wrong(*args):
        stats = right(*args)
        return stats._replace(entropy=stats.entropy * (1 + 1e-4))

    monkeypatch.setattr(ops, "token_logprob_entropy", wrong)
    found = {finding.what.split()[0] for finding in gpu_check.check_ops("cpu") if not finding.is_right}
    assert "entropy" in found
    assert not gpu_check.Finding(op="x", what="y", error=float("nan"), bound=1.0).is_right
