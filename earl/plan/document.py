"""The plan as one document, for `--json` and for the table alike."""

import dataclasses
from pathlib import Path
from typing import Any

from earl.config import Config, checked_config
from earl.data import training_problems
from earl.methods import method_problems
from earl.plan.checks import (
    check_files,
    check_machine,
    check_model,
    check_rollout,
    check_settings,
    check_verifier,
    check_work,
)
from earl.plan.disk import estimate_disk
from earl.plan.duration import estimate_duration
from earl.plan.findings import Finding, error
from earl.plan.machine import memory_bytes, program_bytes
from earl.plan.memory import estimate_memory
from earl.plan.model_shape import ModelShape, read_shape
from earl.plan.work import Work, count_work
from earl.policy import load_encoder
from earl.toml_values import read_values
from toolchain.errors import EarlError

_MOST_NAMED = 3  # problems with too long a prompt


def make_plan(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """All that `earl plan` says. What cannot be estimated because of an error is None.

    Raises:
        UsageError: the file cannot be read at all, or an override is malformed.
    """
    config, wrong = checked_config(read_values(path, overrides))
    findings = [error(message) for message in wrong]
    document: dict[str, Any] = {"config": str(path), "model": None, "work": None, "memory": None}
    document |= {"time": None, "disk": None}
    if config is not None:
        methods = method_problems(config)
        findings += [error(message) for message in methods]
        findings += [*check_settings(config), *check_rollout(config), *check_files(config), *check_verifier(config)]
        shape, work = _read(config, findings)
        document |= _described(config, shape, work)
        if shape and work and not methods:
            document |= _estimated(config, shape, work, findings)
    findings.sort(key=lambda finding: not finding.is_error)
    document["errors"] = [finding.message for finding in findings if finding.is_error]
    document["warnings"] = [finding.message for finding in findings if not finding.is_error]
    return {"ok": not document["errors"], **document}


def _read(config: Config, findings: list[Finding]) -> tuple[ModelShape | None, Work | None]:
    """The model's shape and the run's work, or None with what is in the way among the findings."""
    shape, work = None, None
    try:
        shape = read_shape(config)
        findings += check_model(config, shape)
    except EarlError as problem:
        findings.append(error(str(problem)))
    try:
        lengths = _prompt_lengths(config, findings)
        work = count_work(config, lengths)
        findings += check_work(config, work)
    except EarlError as problem:
        if str(problem) not in [finding.message for finding in findings]:
            findings.append(error(str(problem)))
    return shape, work


def _prompt_lengths(config: Config, findings: list[Finding]) -> list[int]:
    """Tokens of each training problem's prompt. Those that are too long are found here, all of them."""
    encoder = load_encoder(config.model.path, config.prompt)
    problems = training_problems(config)
    lengths = [len(encoder.tokenizer(encoder.render(problem.prompt))["input_ids"]) for problem in problems]
    allowed = config.prompt.max_tokens
    too_long = [
        f"{problem.problem_id} ({length})"
        for problem, length in zip(problems, lengths, strict=True)
        if length > allowed
    ]
    if too_long:
        named = ", ".join(too_long[:_MOST_NAMED]) + (", ..." if len(too_long) > _MOST_NAMED else "")
        findings.append(
            error(f"{len(too_long)} prompts are longer than prompt.max_tokens = {allowed}: {named}; allow more")
        )
    return lengths


def _described(config: Config, shape: ModelShape | None, work: Work | None) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if shape:
        described["model"] = {"path": config.model.path, **dataclasses.asdict(shape)}
    if work:
        described["work"] = dataclasses.asdict(work) | {
            "num_completions": work.num_completions,
            "num_epochs": work.num_epochs,
            "sampled_tokens_in_all": work.sampled_tokens * work.num_steps,
            "updates_in_all": work.num_updates * work.num_steps,
        }
    return described


def _estimated(config: Config, shape: ModelShape, work: Work, findings: list[Finding]) -> dict[str, Any]:
    memory = estimate_memory(config, shape, work, program_bytes=program_bytes())
    disk = estimate_disk(config, shape)
    findings += check_machine(memory, disk)
    duration = estimate_duration(config, shape, work)
    total, available = memory_bytes()
    of_phases = {"sampling": memory.sampling, "training": memory.training, "peak": memory.peak}
    return {
        "memory": {
            "parts_bytes": dataclasses.asdict(memory),
            **{f"{name}_bytes": value for name, value in of_phases.items()},
            "machine_bytes": total,
            "available_bytes": available,
        },
        "time": dataclasses.asdict(duration) | {"step_s": duration.step_s, "run_s": duration.step_s * work.num_steps},
        "disk": {
            "checkpoint_bytes": disk.checkpoint,
            "num_checkpoints": disk.num_checkpoints,
            "checkpoints_bytes": disk.checkpoints,
            "published_bytes": disk.published,
            "free_bytes": disk.free,
        },
    }
