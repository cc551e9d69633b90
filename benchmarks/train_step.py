"""A whole training step, and with `--against trl` the same step by TRL's GRPOTrainer, side by side in one run.

A step samples every completion of 8 prompts of about 150 tokens, has them judged and makes one update: of SmolLM2-135M
with fp32 masters, no KL term, the gate of the config on both sides. Each side runs in a fresh process, in turn; ratios
are TRL's figure over ours, medians over the pairs. Once every completion is `--max-tokens` long (the stop token is
suppressed), once they end where they end. TRL has all rows in one generation batch and the fastest of the micro-batches
tried; its vLLM mode is not run (with the CPU build of vLLM it fails when it hands over weights, docs/LOG.md).
`speedup_vs_trl_cpu` compares processor time, which other work on the machine disturbs less than the clock.
Run: python benchmarks/train_step.py [--json] [--against trl] (for TRL: pip install 'earl-rtl[trl]')
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

from earl.engine import compute_dtype
from toolchain.errors import InfrastructureError, UsageError

_SIDES = Path(__file__).with_name("train_step_sides.py")
_BODY, _HEAD = 106.2e6, 28.3e6  # weights of SmolLM2-135M that every token, and every predicted token, meets


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--against", type=click.Choice(["trl"]), help="Run TRL's step beside ours.")
@click.option("--config", default="configs/earl-fast.toml", show_default=True, help="Gate, loss and learning rate.")
@click.option("--dtype", type=click.Choice(["auto", "bfloat16", "float32"]), default="auto", show_default=True)
@click.option("--pairs", default=1, show_default=True, help="Runs of each side and row.")
@click.option("--problems", default=8, show_default=True)
@click.option("--group-size", default=8, show_default=True)
@click.option("--max-tokens", default=192, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--micro-batches", default="8", show_default=True, help="TRL's, in sequences; the fastest counts.")
@click.option("--natural/--no-natural", default=True, help="The second row, with natural lengths.")
def main(  # noqa: PLR0913  (one a command-line option)
    as_json: bool,
    against: str | None,
    config: str,
    dtype: str,
    pairs: int,
    problems: int,
    group_size: int,
    max_tokens: int,
    threads: int,
    micro_batches: str,
    natural: bool,
) -> None:
    """Measure a whole training step on this machine."""
    if against and importlib.util.find_spec("trl") is None:
        raise click.ClickException("TRL is not installed; run `make bench-trl`, or pip install 'earl-rtl[trl]'")
    torch.set_num_threads(threads)
    chosen = str(compute_dtype(dtype)).removeprefix("torch.")
    settings = {
        "config": config,
        "dtype": chosen,
        "num_problems": problems,
        "group_size": group_size,
        "max_tokens": max_tokens,
        "num_threads": threads,
    }
    candidates = [int(size) for size in micro_batches.split(",")]
    report: dict[str, object] = {"settings": settings, "machine": _machine(), "floors": _floors(chosen)}
    for row, is_natural in (("fixed", False), ("natural", True))[: 2 if natural else 1]:
        ours, theirs = [], []
        for _ in range(pairs):
            ours.append(_run("ours", settings | {"is_natural": is_natural, "trl_micro_batch": candidates[0]}))
            if against:
                theirs.append(_fastest(settings | {"is_natural": is_natural}, candidates))
                candidates = [int(theirs[-1]["micro_batch"])]  # found once
        report[row] = {"ours": _medians(ours)} | ({"trl": _medians(theirs)} if against else {})
        if against:
            suffix = "_natural" if is_natural else ""
            report[f"speedup_vs_trl{suffix}"] = _ratio(theirs, ours, "step_s")
            report[f"speedup_vs_trl_cpu{suffix}"] = _ratio(theirs, ours, "cpu_s")
            if not is_natural:
                report["memory_ratio"] = round(1 / _ratio(theirs, ours, "peak_less_state_bytes"), 3)
    report["floors_s"] = _floor_seconds(report["floors"], report["fixed"]["ours"])
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(f"{k}: {v}" for k, v in report.items()))


def _run(side: str, settings: dict[str, object]) -> dict[str, float]:
    """The figures of one step in a fresh process."""
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.run(
        [sys.executable, str(_SIDES), side, json.dumps(settings)], capture_output=True, text=True, env=environment
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT ")]
    if process.returncode or not lines:
        raise click.ClickException(f"{side} ended with code {process.returncode}:\n{process.stderr[-2000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def _fastest(settings: dict[str, object], micro_batches: list[int]) -> dict[str, float]:
    """TRL's step with the fastest of the micro-batches."""
    runs = [_run("trl", settings | {"trl_micro_batch": size}) | {"micro_batch": size} for size in micro_batches]
    return min(runs, key=lambda run: run["step_s"])


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(run[key] for run in runs), 6) for key in runs[0]}


def _ratio(theirs: list[dict[str, float]], ours: list[dict[str, float]], key: str) -> float:
    return round(statistics.median(a[key] / b[key] for a, b in zip(theirs, ours, strict=True)), 3)


def _machine() -> dict[str, object]:
    return {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "has_bfloat16_units": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def _floors(dtype: str) -> dict[str, float]:
    """What this machine gives at this moment: matrix products in the step's type, and copying."""
    kind = getattr(torch, dtype)
    weight = torch.randn(1536, 576).to(kind)

    def gemm_gflops(rows: int) -> float:
        x = torch.randn(rows, 576).to(kind)
        return 2 * rows * weight.numel() / _best_s(lambda: torch.nn.functional.linear(x, weight)) / 1e9

    source = torch.ones(64 << 20, dtype=torch.float32)
    target = torch.empty_like(source)
    return {
        "gemm_gflops_64_rows": round(gemm_gflops(64), 1),
        "gemm_gflops_2048_rows": round(gemm_gflops(2048), 1),
        "copy_gb_s": round(2 * source.nbytes / _best_s(lambda: target.copy_(source)) / 1e9, 2),
    }


def _floor_seconds(floors: dict[str, float], work: dict[str, float]) -> dict[str, float]:
    """Seconds that the matrix products of our step take at those rates: every sampled token once, every fed position
    forward and backward, the head where a token is trained (twice forward)."""
    sample = 2 * (_BODY + _HEAD) * work["tokens_sampled"] + 2 * _BODY * work["prompt_tokens"]
    fed = work["tokens_in_loss"] + work["prompt_tokens"]
    train = 6 * _BODY * fed + 8 * _HEAD * work["tokens_trained"]
    return {
        "sample_s": round(sample / floors["gemm_gflops_64_rows"] / 1e9, 2),
        "train_s": round(train / floors["gemm_gflops_2048_rows"] / 1e9, 2),
    }


def _best_s(run: Callable[[], object]) -> float:
    times = []
    for _ in range(12):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times[2:])


if __name__ == "__main__":
    try:
        main()
    except (UsageError, InfrastructureError) as error:
        raise SystemExit(str(error)) from error
