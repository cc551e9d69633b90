"""An estimate of a run's time: from the last run of the same model here, else from how fast this machine multiplies."""

import json
import os
import statistics
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from earl.config import Config
from earl.engine import compute_dtype
from earl.gate.entropy import EntropyGateParams
from earl.gate.spec import fraction_at
from earl.plan.machine import gemm_flops, num_cores, num_threads_at_once, torch_threads
from earl.plan.model_shape import ModelShape
from earl.plan.work import Work

# Share of the time that goes into matrix products, measured (docs/speed.md); elsewhere it may be another.
_DECODING_SHARE, _TRAINING_SHARE = 0.84, 0.75
_MOST_ROWS, _MOST_COLUMNS = 2_048, 16_384  # of products that are measured: enough for full speed
_LAST_ROWS = 10  # of a run's metrics; the first steps of a process are slow
# Keys that a run must have had as the config has them for its rates to be the config's.
_SAME = (
    ("model", "path"),
    ("model", "dtype"),
    ("model", "ops"),
    ("run", "num_threads"),
    ("rollout", "num_workers"),
    ("rollout", "is_local"),
    ("lora", "rank"),
    ("train", "gradient_checkpointing"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Duration:
    """Seconds of a step, and where the estimate comes from."""

    sample_s: float  # summed over the processes that sample
    judge_s: float  # that sampling does not hide, summed likewise
    train_s: float
    num_samplers: int  # that have cores of their own, so that they share the time out
    is_overlapped: bool  # the step before is trained on meanwhile
    source: str
    is_measured: bool  # by a run; else by matrix products alone
    assumed: tuple[str, ...]  # what was not measured

    @property
    def step_s(self) -> float:
        rollout_s = (self.sample_s + self.judge_s) / self.num_samplers
        return max(rollout_s, self.train_s) if self.is_overlapped else rollout_s + self.train_s


def estimate_duration(config: Config, shape: ModelShape, work: Work) -> Duration:
    """By a run's rates and its completions' mean length where there is one, else by products and the longest ones."""
    return _from_last_run(config, work) or _from_products(config, shape, work)


def _from_last_run(config: Config, work: Work) -> Duration | None:
    num_samplers = max(1, config.rollout.num_workers)
    files = Path(config.run.dir).glob("*/metrics.jsonl") if Path(config.run.dir).is_dir() else []
    for path in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        rows = _rows(path) if _is_alike(path.parent / "config.toml", config) else []
        if not rows:
            continue
        mean = {key: statistics.fmean(row[key] for row in rows) for key in _NEEDED}
        tokens = work.num_completions * min(mean["completions/mean_length"], work.completion_tokens)
        return Duration(
            sample_s=tokens / mean["perf/sampled_tokens_per_s"],
            judge_s=mean["perf/judge_s"] * tokens / mean["num_tokens"],
            train_s=mean["perf/train_s"] * tokens / mean["num_tokens"],
            num_samplers=num_samplers,
            is_overlapped=config.rollout.max_staleness > 0,
            source=f"the last {len(rows)} steps of {path.parent}",
            is_measured=True,
            assumed=("completions as long as then", "the machine as busy as then"),
        )
    return None


_NEEDED = ("perf/sampled_tokens_per_s", "perf/judge_s", "perf/train_s", "num_tokens", "completions/mean_length")


def _rows(path: Path) -> list[dict[str, float]]:
    """The last whole rows of a metrics file that are steps of RL. A run under way may be writing another one."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if all(row.get(key) for key in _NEEDED if key != "perf/judge_s") and "perf/judge_s" in row:
            rows.append(row)
    return rows[-_LAST_ROWS:]


def _is_alike(path: Path, config: Config) -> bool:
    """Whether a run's saved config, of whatever version, has the same keys that speed hangs on."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return False
    ours, defaults = config.model_dump(mode="json"), Config().model_dump(mode="json")
    return all(values.get(section, {}).get(key, defaults[section][key]) == ours[section][key] for section, key in _SAME)


def _from_products(config: Config, shape: ModelShape, work: Work) -> Duration:
    dtype = compute_dtype(config.model.dtype)
    rows = min(config.sampling.max_rows, work.largest_draw * work.num_samples)
    wide = 2 * shape.intermediate
    with torch_threads(config.run.num_threads):
        decoding = gemm_flops(rows, shape.hidden, wide, dtype)
        training = gemm_flops(min(work.largest_micro_batch, _MOST_ROWS), shape.hidden, wide, dtype)
        columns = min(shape.vocabulary, _MOST_COLUMNS)
        head = gemm_flops(rows, shape.hidden, columns, torch.float32)  # its type everywhere
    body, of_head = 2 * shape.num_body, 2 * shape.vocabulary * shape.hidden
    sample_s = (work.sampled_tokens * body / decoding + work.sampled_tokens * of_head / head) / _DECODING_SHARE
    sample_s += work.num_prompts * work.mean_prompt_tokens * body / training

    passes = 2 if config.lora.rank else 3  # forward, gradient of inputs, gradient of weights
    passes += config.train.gradient_checkpointing == "layers"
    head_rows = work.sampled_tokens * _head_share(config)
    train_s = work.trained_positions * body * passes / training
    train_s += head_rows * of_head * (3 if config.lora.rank else 4) / head  # tiles once more in the backward pass
    if config.kl.beta:
        train_s += work.trained_positions * body / training + work.sampled_tokens * of_head / head
    rollout = config.rollout
    is_apart = not rollout.is_local or num_threads_at_once(config) <= num_cores()  # else they only share the cores
    return Duration(
        sample_s=sample_s,
        judge_s=0.0,
        train_s=train_s / _TRAINING_SHARE,
        num_samplers=max(1, rollout.num_workers) if is_apart else 1,
        is_overlapped=is_apart and rollout.max_staleness > 0,
        source=f"matrix products measured now, {decoding / 1e9:.0f} and {training / 1e9:.0f} GFLOP/s in"
        f" {str(dtype).removeprefix('torch.')}",
        is_measured=False,
        assumed=(
            f"products are {_DECODING_SHARE:.0%} of sampling and {_TRAINING_SHARE:.0%} of training (SmolLM2-135M)",
            "completions at their longest",
            "sampling hides all judging",
            f"the machine as busy as now, {os.getloadavg()[0]:.1f} processes on {num_cores()} cores",
        ),
    )


def _head_share(config: Config) -> float:
    """The share of tokens that the head's training pass sees: the gate's, unless the KL term wants all of them."""
    if config.kl.beta and config.kl.where == "all":
        return 1.0
    if config.gate.name != "entropy":
        return 1.0
    fraction = EntropyGateParams.model_validate(config.gate.params).fraction
    return fraction_at(fraction, config.train.num_steps // 2)
