"""The configuration: one TOML file, strict, with dotted overrides from the command line.

An unknown key fails and names the nearest known one. The resolved form is saved with every run. A method's own
parameters live in its file's dataclass and are given under `[gate.params]` and the like.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from earl.asynchronous.params import RolloutParams
from earl.config_keys import known_part, unknown_keys
from earl.toml_values import read_values
from earl.update_params import LoraParams, OptimizerParams
from toolchain.errors import UsageError

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunConfig(Section):
    name: str = ""  # folder under `dir`; empty: the config's name, numbered
    dir: str = "runs"
    seed: int = 0
    num_threads: int = 0  # torch threads; 0 leaves torch's own choice


class ModelConfig(Section):
    path: str = "smollm2-135m-instruct"  # a Hugging Face folder, a hub name, or an alias of earl.model_source
    # Of projections, in sampler and autocast; masters are fp32. auto: bfloat16 where the machine has units for it.
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    ops: Literal["compiled", "reference"] = "compiled"  # reference: plain torch, slower, all logits in memory


class PromptConfig(Section):
    template: Literal["plain", "chat"] = "plain"
    max_tokens: Positive = 512  # longer prompts are refused when the data is built


class ProblemsConfig(Section):
    files: tuple[str, ...] = ()  # of your own, any that `--benchmark jsonl` takes; empty: procedural problems
    exclude: tuple[str, ...] = ()  # BENCHMARK:ROOT, benchmarks to keep out of training
    families: tuple[str, ...] = ()  # empty: all
    exclude_families: tuple[str, ...] = ()
    levels: tuple[int, ...] = (1, 2)
    num_problems: Positive = 256
    order: str = "shuffled"  # a key of earl.control.order.ORDERS
    params: dict[str, Any] = Field(default_factory=dict)


class SamplingConfig(Section):
    engine: Literal["auto", "hf", "decode"] = "auto"  # auto: the own decode loop where the architecture allows it
    max_tokens: Positive = 192
    temperature: Annotated[float, Field(gt=0)] = 1.0
    max_rows: Positive = 128  # sequences decoded side by side


class SftLossConfig(Section):
    name: str = "cross_entropy"  # a key of earl.sft_loss.SFT_LOSSES
    params: dict[str, Any] = Field(default_factory=dict)


class SftConfig(Section):
    files: tuple[str, ...] = ()  # rows of prompt and completion; empty: the goldens of [problems]
    num_examples: Positive = 512  # at most so many, where they come from files
    num_validation: Annotated[int, Field(ge=0)] = 32  # examples whose loss is only measured
    num_epochs: Positive = 1
    batch_size: Positive = 16  # examples in one update
    pack_tokens: Positive = 4096  # of one pass: examples lie end to end up to here; longer ones are left out
    loss: SftLossConfig = SftLossConfig()
    learning_rate: NonNegative = 1e-4
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # after the warm-up
    warmup_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    checkpoint_every: Annotated[int, Field(ge=0)] = 50  # steps; the validation loss is measured then too; 0: at the end


class DistilConfig(Section):
    """Self-distillation: the model is sampled on the training problems, and its verified passes are learnt."""

    num_samples: Positive = 16  # a problem
    keep: Positive = 1  # passes of a problem, at most, the best first


class TrainConfig(Section):
    num_steps: Positive = 20
    num_problems: Positive = 8  # groups in one step
    group_size: Annotated[int, Field(ge=2)] = 8
    num_minibatches: Positive = 1  # optimiser updates on one batch of rollouts
    micro_batch_tokens: Positive = 2048
    # layers: keep only each layer's input for the backward pass and compute the rest again. Also in the warm start.
    gradient_checkpointing: Literal["none", "layers"] = "none"
    learning_rate: NonNegative = 2e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    checkpoint_every: Annotated[int, Field(ge=0)] = 10  # steps; 0: only at the end and when stopped
    keep_checkpoints: Positive = 2


class AdvantageConfig(Section):
    name: str = "grpo"  # a key of earl.advantage.ADVANTAGES
    min_std: NonNegative = 0.02  # a group whose rewards deviate less has no variance


class GroupsConfig(Section):
    """Which groups train. With rounds, other problems are sampled in the place of the groups that the filter drops."""

    filter: str = "none"  # a key of earl.control.filters.FILTERS
    params: dict[str, Any] = Field(default_factory=dict)
    max_rounds: Annotated[int, Field(ge=0)] = 0  # of further sampling in one step


class GateConfig(Section):
    name: str = "entropy"  # a key of earl.gate.GATES
    entropy_source: Literal["sampling", "current"] = "sampling"
    params: dict[str, Any] = Field(default_factory=dict)


class LossConfig(Section):
    name: str = "ppo_clip"  # a key of earl.loss.LOSSES
    clip_low: NonNegative = 0.2
    clip_high: NonNegative = 0.28
    dual_clip: NonNegative = 0.0  # 0: off; else the bound c > 1 of the loss at negative advantages
    denominator: Literal["tokens", "gated", "sequences", "constant"] = "tokens"
    # Truncated importance sampling where the sampler's log-probs are not the trainer's. auto: token for a sampler that
    # is another program or lags behind, none for our own in step.
    correction: Literal["auto", "none", "token", "sequence"] = "auto"
    correction_cap: Annotated[float, Field(ge=1)] = 2.0


class KlConfig(Section):
    beta: NonNegative = 0.0
    where: Literal["all", "gated", "reward"] = "all"  # in the loss over all or gated tokens; or in the reward
    estimator: Literal["auto", "k1", "k2", "k3"] = "auto"  # auto: k3 in the loss, k1 in the reward
    reference: str = "fixed"  # a key of earl.control.reference.REFERENCES
    params: dict[str, Any] = Field(default_factory=dict)  # of the reference


class OverlongConfig(Section):
    """A penalty that grows over the last `buffer` tokens before sampling.max_tokens, to `penalty` at the limit."""

    buffer: Annotated[int, Field(ge=0)] = 0  # tokens; 0: off
    penalty: NonNegative = 0.5


class RewardConfig(Section):
    """Tiers of the reward; a pass is 1. `partial` caps what wrong but working designs can earn."""

    syntax: NonNegative = 0.1  # it parses and holds nothing forbidden
    interface: NonNegative = 0.1  # and its ports are right and it elaborates
    partial: NonNegative = 0.3  # times the mean over outputs of what is matched beyond the best constant
    truncated: Literal["judged", "zero", "masked"] = "judged"  # completions cut by length; masked: count, do not train
    overlong: OverlongConfig = OverlongConfig()
    control: Literal["none", "shuffled", "random"] = "none"  # rewards that change hands, or coins: must teach nothing


class VerifierConfig(Section):
    address: str = "local"  # or http(s)://HOST:PORT of `earl serve`, ray, ray://HOST:PORT, auto: a Ray cluster if any
    token_file: str = ""  # of a service that wants one
    num_workers: Positive = 2
    isolation: Literal["auto", "bubblewrap", "rlimits"] = "auto"
    cache: str = ""  # file of verdicts and golden traces kept between runs; empty: none
    wait_s: NonNegative = 600.0  # how long a step waits without any verdict for a judge that is lost; then it stops


class SignsConfig(Section):
    """Thresholds of the early-warning signs (earl.control.signs); drift is measured from the first steps."""

    is_on: bool = True
    first_steps: Positive = 5  # whose mean is the measure of drift
    entropy_below: NonNegative = 0.3  # of the first steps' entropy
    length_factor: Annotated[float, Field(gt=1)] = 2.0  # mean length this many times longer or shorter
    zero_variance_above: NonNegative = 0.7  # share of groups
    kept_factor: Annotated[float, Field(gt=1)] = 1.5  # the gate's share this many times larger or smaller
    forbidden_above: NonNegative = 0.05  # share of completions that the screen refuses
    recheck_gap_above: NonNegative = 0.05  # share of passes that fail under other stimulus
    recheck_every: Annotated[int, Field(ge=0)] = 10  # steps; 0: never
    recheck_passes: Positive = 16  # judged again each time, at most


class LogConfig(Section):
    backends: tuple[str, ...] = ()  # keys of earl.backends.BACKENDS, beside metrics.jsonl
    completions: Literal["jsonl", "parquet"] = "jsonl"
    signs: SignsConfig = SignsConfig()


class EvalConfig(Section):
    files: tuple[str, ...] = ()  # held-out problems of your own; empty: the held-out split of procedural problems
    num_problems: Positive = 64
    num_samples: Positive = 8
    temperature: Annotated[float, Field(gt=0)] = 1.0
    levels: tuple[int, ...] = ()  # empty: those of [problems]
    families: tuple[str, ...] = ()  # empty: those of [problems]
    seed: int = 7_001  # of the draw of problems and of sampling; published so that figures compare


class Config(Section):
    run: RunConfig = RunConfig()
    model: ModelConfig = ModelConfig()
    prompt: PromptConfig = PromptConfig()
    problems: ProblemsConfig = ProblemsConfig()
    sampling: SamplingConfig = SamplingConfig()
    rollout: RolloutParams = RolloutParams()
    lora: LoraParams = LoraParams()
    optimizer: OptimizerParams = OptimizerParams()
    sft: SftConfig = SftConfig()
    distil: DistilConfig = DistilConfig()
    train: TrainConfig = TrainConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    groups: GroupsConfig = GroupsConfig()
    gate: GateConfig = GateConfig()
    loss: LossConfig = LossConfig()
    kl: KlConfig = KlConfig()
    reward: RewardConfig = RewardConfig()
    verifier: VerifierConfig = VerifierConfig()
    log: LogConfig = LogConfig()
    eval: EvalConfig = EvalConfig()


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """The config of a TOML file with `section.key=value` overrides applied.

    A file may begin with `extends = "other.toml"`, relative to itself: it then states only what differs.

    Raises:
        UsageError: the file is missing or no TOML, a key is unknown (the nearest is named), a value does not fit.
    """
    return config_from_dict(read_values(path, overrides), origin=str(path))


def config_from_dict(values: dict[str, Any], origin: str) -> Config:
    """A validated config. `origin` names the source in errors."""
    config, problems = checked_config(values)
    if problems:
        raise UsageError(f"{origin}: {problems[0]}")
    assert config is not None
    return config


def checked_config(values: dict[str, Any]) -> tuple[Config | None, list[str]]:
    """The config, None if there can be none, and all that is wrong with `values`."""
    unknown = unknown_keys(Config, values)
    try:
        config = Config.model_validate(known_part(Config, values))
    except ValidationError as error:
        return None, unknown + [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}; got {one['input']!r}" for one in error.errors()
        ]
    return config, unknown + _contradictions(config)


def _contradictions(config: Config) -> list[str]:
    problems = []
    if config.rollout.max_staleness and not config.rollout.num_workers:
        problems.append(
            f"rollout.max_staleness is {config.rollout.max_staleness} and rollout.num_workers 0, but a trainer that"
            " samples by itself is never behind; set rollout.num_workers to 1 or more"
        )
    if config.loss.dual_clip and config.loss.dual_clip <= 1:
        problems.append(f"loss.dual_clip must be 0 (off) or above 1; got {config.loss.dual_clip}")
    if config.train.num_problems % config.train.num_minibatches:
        problems.append(
            "train.num_minibatches must divide train.num_problems;"
            f" got {config.train.num_minibatches} and {config.train.num_problems}"
        )
    top = config.reward.syntax + config.reward.interface + config.reward.partial
    if top > 0.75:
        problems.append(f"reward tiers add up to {top}, too near a pass (1.0); keep them at 0.75 or less")
    return problems
