"""Inconsistencies of a config, with itself, with its model and with this machine. Each check adds what it finds."""

from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import BaseModel

from earl.config import Config
from earl.engine import compute_dtype
from earl.plan.disk import Disk
from earl.plan.findings import Finding, error, warning
from earl.plan.machine import memory_bytes, num_cores, num_threads_at_once
from earl.plan.memory import Memory
from earl.plan.model_shape import ModelShape
from earl.plan.work import Work
from hdl_bench.problem_source import read_rows
from toolchain.errors import EarlError
from toolchain.sandbox import choose_rung
from toolchain.tool import find_tool
from verifiers.connect import read_token

_MANY_EPOCHS = 20.0
_USUAL_TEMPERATURES = (0.3, 1.5)
_ANSWER_S = 3.0
_GB = 1e9


def check_settings(config: Config) -> Iterator[Finding]:
    """What can be seen in the config alone."""
    train, sampling, kl = config.train, config.sampling, config.kl
    if train.warmup_steps > train.num_steps:
        yield error(
            f"train.warmup_steps = {train.warmup_steps} is longer than the run of train.num_steps = {train.num_steps}:"
            " the learning rate never reaches its value; shorten it"
        )
    if train.learning_rate == 0:
        yield warning("train.learning_rate = 0 trains nothing; that is a self-test")
    low, high = _USUAL_TEMPERATURES
    if not low <= sampling.temperature <= high:
        yield warning(
            f"sampling.temperature = {sampling.temperature} is outside {low} to {high}: completions will be"
            f" {'all alike, so groups have no variance' if sampling.temperature < low else 'mostly noise'}"
        )
    if sampling.temperature != config.eval.temperature:
        yield warning(
            f"the policy is trained at sampling.temperature = {sampling.temperature} and measured at"
            f" eval.temperature = {config.eval.temperature}"
        )
    if kl.beta == 0 and (keys := _changed(kl, "kl", besides="beta")):
        yield warning(f"{keys} without effect: kl.beta = 0 has no KL term and no reference; set kl.beta")
    if config.distil.keep > config.distil.num_samples:
        yield warning(
            f"distil.keep = {config.distil.keep} of distil.num_samples = {config.distil.num_samples}: there are no more"
        )
    if config.reward.overlong.buffer >= sampling.max_tokens:
        yield error(
            f"reward.overlong.buffer = {config.reward.overlong.buffer} must be under sampling.max_tokens ="
            f" {sampling.max_tokens}: every completion would be taxed"
        )
    if config.reward.control != "none":
        yield warning(f'reward.control = "{config.reward.control}": these rewards must teach nothing; a self-test')
    if train.checkpoint_every > train.num_steps:
        yield warning(
            f"train.checkpoint_every = {train.checkpoint_every} is more than train.num_steps = {train.num_steps}:"
            " a kill loses everything"
        )
    cores = num_cores()
    if config.run.num_threads > cores:
        yield warning(
            f"run.num_threads = {config.run.num_threads} on {cores} cores slows everything; 0 is torch's choice"
        )
    if config.verifier.address == "local" and config.verifier.num_workers > cores:
        yield warning(f"verifier.num_workers = {config.verifier.num_workers} simulators at once on {cores} cores")


def _changed(section: BaseModel, name: str, *, besides: str) -> str:
    """The keys of a section that have not their defaults, but for one; "" if there is none."""
    defaults = {key: field.get_default(call_default_factory=True) for key, field in type(section).model_fields.items()}
    keys = [key for key in sorted(defaults) if key != besides and getattr(section, key) != defaults[key]]
    return ", ".join(f"{name}.{key}" for key in keys)


def check_rollout(config: Config) -> Iterator[Finding]:
    """The rollout workers against the rest of the run, and against this machine."""
    rollout, train = config.rollout, config.train
    if not rollout.num_workers:  # a staleness without workers is refused with the config itself
        if keys := _changed(rollout.model_copy(update={"max_staleness": 0}), "rollout", besides="num_workers"):
            yield warning(f"{keys} without effect: rollout.num_workers = 0 has the trainer sample by itself")
        return
    num_threads, cores = num_threads_at_once(config), num_cores()
    if num_threads > cores:
        who = "trainer and rollout workers compute" if rollout.max_staleness else "rollout workers compute"
        yield warning(
            f"{who} with {num_threads} threads at once on {cores} cores: neither gains; lower run.num_threads (now"
            f" {config.run.num_threads or 'as many as torch takes'}) or rollout.num_workers"
        )
    if rollout.schedule == "fixed" and rollout.num_workers > train.num_problems:
        yield warning(
            f"rollout.num_workers = {rollout.num_workers} share the train.num_problems = {train.num_problems} groups of"
            " a step, and a group is never cut: some have nothing to do"
        )
    if rollout.max_staleness >= train.num_steps:
        yield warning(
            f"rollout.max_staleness = {rollout.max_staleness} in a run of train.num_steps = {train.num_steps}: all of"
            " it is sampled from the first weights"
        )
    if rollout.max_staleness and config.loss.correction == "none":
        yield warning(
            f'loss.correction = "none" with rollout.max_staleness = {rollout.max_staleness}: nothing is weighed for'
            ' what older weights have sampled; "auto" does'
        )
    if not rollout.is_local and config.verifier.address == "local":
        yield warning(
            'rollout.is_local = false and verifier.address = "local": every worker judges on its own machine and needs'
            " the simulator there; `earl serve` on one of them judges for all"
        )


def check_files(config: Config) -> Iterator[Finding]:
    """Whether the examples of a warm start can be read. Problems and held-out problems are read for the counts."""
    for file in config.sft.files:
        yield from _tried(lambda file=file: read_rows(Path(file)))


def check_model(config: Config, shape: ModelShape) -> Iterator[Finding]:
    """The config against the model."""
    if shape.unusual_head:
        yield error(f"{config.model.path} cannot be trained here: {', '.join(shape.unusual_head)}")
    wanted = config.prompt.max_tokens + config.sampling.max_tokens
    if shape.context_length is not None and wanted > shape.context_length:
        yield error(
            f"prompt.max_tokens + sampling.max_tokens = {wanted} positions and {config.model.path} takes"
            f" {shape.context_length}; lower one of them"
        )
    if config.sampling.engine == "decode" and shape.unsupported:
        yield error(f'sampling.engine = "decode" cannot run this model: {shape.unsupported}; use "hf"')
    elif shape.unsupported:
        yield warning(f"{shape.unsupported}: sampling and training take transformers' own forward, which is slower")
    if config.lora.rank >= shape.hidden:
        yield warning(f"lora.rank = {config.lora.rank} is no low rank beside {shape.hidden} hidden units")
    has_units = compute_dtype("auto") == torch.bfloat16
    if config.model.dtype == "bfloat16" and not has_units:
        yield warning('model.dtype = "bfloat16" on a machine without units for it is 20 times slower; set it to "auto"')


def check_work(config: Config, work: Work) -> Iterator[Finding]:
    """Counts against each other."""
    train = config.train
    if work.num_problems < train.num_problems:
        yield error(
            f"a step takes train.num_problems = {train.num_problems} problems and the set has {work.num_problems};"
            " give more problems or lower it"
        )
    group = work.largest_micro_batch // work.num_groups_together
    if group > train.micro_batch_tokens:
        yield warning(
            f"a group of {train.group_size} completions has up to {group} positions and train.micro_batch_tokens is"
            f" {train.micro_batch_tokens}: a group is never cut, so a micro-batch is one group of {group} positions;"
            " for less memory lower train.group_size or sampling.max_tokens, or set train.gradient_checkpointing"
        )
    if config.problems.order == "shuffled" and work.num_epochs > _MANY_EPOCHS:
        yield warning(
            f"{work.num_epochs:.0f} epochs over {work.num_problems} problems: they will be learnt by heart;"
            " give more problems or fewer steps"
        )
    if config.groups.max_rounds and work.num_problems < 2 * train.num_problems:
        yield warning(
            f"groups.max_rounds = {config.groups.max_rounds} wants other problems in the place of dropped ones, and of"
            f" {work.num_problems} a step takes {train.num_problems} already"
        )


def check_machine(memory: Memory, disk: Disk) -> Iterator[Finding]:
    """Estimates against what this machine has."""
    total, available = memory_bytes()
    advice = "lower train.micro_batch_tokens or train.group_size, or set train.gradient_checkpointing, lora.rank"
    if memory.peak > total:
        yield error(f"about {memory.peak / _GB:.1f} GB of memory and the machine has {total / _GB:.1f}; {advice}")
    elif memory.peak > available:
        yield warning(
            f"about {memory.peak / _GB:.1f} GB of memory and {available / _GB:.1f} of {total / _GB:.1f} are"
            f" available now; close something, or {advice}"
        )
    if disk.total > disk.free:
        published = f" and {disk.published / _GB:.1f} GB of weights for workers" if disk.published else ""
        yield error(
            f"{disk.num_checkpoints} checkpoints of {disk.checkpoint / _GB:.1f} GB{published}, and"
            f" {disk.free / _GB:.1f} GB of disk are free; lower train.keep_checkpoints, or set run.dir to another disk"
        )


def check_verifier(config: Config) -> Iterator[Finding]:
    """Whether what judges is there: the simulator and the isolation here, or an answer from the service."""
    verifier = config.verifier
    if verifier.token_file:
        yield from _tried(lambda: read_token(Path(verifier.token_file)))
    if verifier.address.startswith(("http://", "https://")):
        yield from _asked(verifier.address)
    elif verifier.address in ("local", "auto"):
        for tool in ("iverilog", "vvp"):
            yield from _tried(lambda tool=tool: find_tool(tool))
        yield from _tried(lambda: choose_rung(verifier.isolation))


def _tried(look) -> Iterator[Finding]:
    try:
        look()
    except EarlError as problem:
        yield error(str(problem))


def _asked(address: str) -> Iterator[Finding]:
    try:
        import httpx
    except ImportError:
        yield error(f"verifier.address = {address} needs the package httpx: pip install 'earl-rtl[service]'")
        return
    try:
        answer = httpx.get(f"{address.rstrip('/')}/readyz", timeout=_ANSWER_S)
    except httpx.HTTPError as problem:
        yield error(f"verifier.address = {address} does not answer ({problem}); start it with `earl serve`")
        return
    if answer.status_code != httpx.codes.OK:
        yield error(f"verifier.address = {address} is not ready: HTTP {answer.status_code}; look at its log")
