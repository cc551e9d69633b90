"""An estimate of a run's peak memory, part by part, from shapes.

What is kept for the backward pass is counted tensor by tensor as `earl.llama_pass` keeps it; for models that take
transformers' own forward the count is of what its layers keep, and coarser. How far it is off is said in docs/plan.md.
"""

from dataclasses import dataclass

from earl.config import Config
from earl.engine import compute_dtype
from earl.engine.decode_ops import CACHE_MULTIPLE
from earl.optimizers import OPTIMIZERS
from earl.plan.model_shape import ModelShape
from earl.plan.work import Work

_FP32 = 4
# What glibc's malloc holds beyond what is asked, fitted to measured peaks: holes among activations, by bytes of their
# type (aligned requests do not fit into holes of their own size), and among gradients.
_HOLES_OF_ACTIVATIONS = {4: 0.45, 2: 0.18}
_MORE_UNDER_ADAPTERS = 0.4  # whose outputs are made apart and added
_HOLES_OF_GRADIENTS = 0.4
# Of one worker of a farm, measured: Python with pyslang 61 MB, its sandbox 13, a simulator 8.
_JUDGE = 82_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes by part. In the trainer sampling and training take turns, so its peak is that of the larger of the two;
    with rollout workers it does not sample, and they are there all the time."""

    program: int  # Python, torch and transformers themselves
    masters: int  # weights in float32
    optimizer: int
    reference: int  # a model of its own
    workers: int  # all rollout workers of this machine, each at its peak
    judges: int  # the farms of this machine
    sampler_copy: int  # weights laid out for decoding
    kv_cache: int
    sampling_logits: int
    gradients: int
    compute_copies: int  # of weights, in the type that is multiplied in
    activations: int  # of the largest micro-batch, kept for its backward pass
    holes: int  # that malloc has among them
    backward: int  # of the layer whose turn it is
    logits: int  # or the head's tiles and its gradient

    @property
    def always(self) -> int:
        return self.program + self.masters + self.optimizer + self.reference + self.workers + self.judges

    @property
    def sampling(self) -> int:
        """While completions are sampled."""
        return self.always + self.sampler_copy + self.kv_cache + self.sampling_logits

    @property
    def training(self) -> int:
        """In the backward pass of the largest micro-batch."""
        kept = self.gradients + self.compute_copies + self.activations + self.holes
        return self.always + kept + self.backward + self.logits

    @property
    def peak(self) -> int:
        return max(self.sampling, self.training)


def estimate_memory(config: Config, shape: ModelShape, work: Work, *, program_bytes: int) -> Memory:
    """`program_bytes` is what a process takes that has imported everything and loaded nothing."""
    size = compute_dtype(config.model.dtype).itemsize
    is_ours = shape.unsupported is None and config.model.ops == "compiled"
    of_layer = _kept_by_layer(shape, size) if is_ours else _kept_by_their_layer(shape, size)
    has_checkpoints = config.train.gradient_checkpointing == "layers"
    of_layers = (
        (shape.num_layers - 1) * shape.hidden * (_FP32 + size) + of_layer
        if has_checkpoints
        else shape.num_layers * of_layer
    )
    activations, gradients = work.largest_micro_batch * of_layers, _FP32 * shape.num_trainable
    of_holes = _HOLES_OF_ACTIVATIONS[size] + (_MORE_UNDER_ADAPTERS if config.lora.rank else 0)
    has_model = config.kl.beta > 0 and not config.lora.rank
    masters = _FP32 * (shape.num_parameters + shape.num_adapter)
    sampler_copy, kv_cache, sampling_logits = _sampler(config, shape, work, size)
    workers = 0
    if config.rollout.num_workers:
        # New weights are read beside those that they replace, before anything is sampled from them.
        of_each = program_bytes + masters + sampler_copy + max(kv_cache + sampling_logits, gradients)
        workers = of_each * config.rollout.num_workers if config.rollout.is_local else 0
        sampler_copy = kv_cache = sampling_logits = 0
    return Memory(
        program=program_bytes,
        masters=masters,
        optimizer=round(OPTIMIZERS[config.optimizer.name].state_bytes * shape.num_trainable),
        reference=_FP32 * shape.num_parameters if has_model else 0,
        workers=workers,
        judges=_JUDGE * num_judges(config),
        sampler_copy=sampler_copy,
        kv_cache=kv_cache,
        sampling_logits=sampling_logits,
        gradients=gradients,
        compute_copies=size * shape.num_body if size < _FP32 else 0,
        activations=activations,
        holes=round(of_holes * activations + _HOLES_OF_GRADIENTS * gradients),
        backward=work.largest_micro_batch * _working_set(shape, size),
        logits=_head(config, shape, work),
    )


def num_judges(config: Config) -> int:
    """Workers of farms on this machine: the trainer's, and what each rollout worker has of as many."""
    rollout, num = config.rollout, config.verifier.num_workers
    if config.verifier.address != "local":
        return 0
    num_samplers = rollout.num_workers if rollout.is_local else 0
    return num + (num_samplers * max(1, num // num_samplers) if num_samplers else 0)


def _sampler(config: Config, shape: ModelShape, work: Work, size: int) -> tuple[int, int, int]:
    """Of a process that samples: its copy of the weights, keys and values, logits of a decoding step."""
    is_decoded = shape.unsupported is None and config.sampling.engine != "hf"
    rows = min(config.sampling.max_rows, work.largest_draw * work.num_samples)
    copy = _sampler_copy(shape, size) if is_decoded else 0
    return copy, _kv_cache(shape, work, rows, size), _FP32 * rows * shape.vocabulary


def _kept_by_layer(shape: ModelShape, size: int) -> int:
    """Bytes a position: two residual sums in float32; queries, keys, values and context; gate and up."""
    attention = (2 * shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim
    return 2 * _FP32 * shape.hidden + size * (attention + 2 * shape.intermediate) + _FP32 * shape.num_heads


def _kept_by_their_layer(shape: ModelShape, size: int) -> int:
    """As above, and what transformers keeps too: normalised inputs twice, what rotation reads, activated MLP twice."""
    turned = (shape.num_heads + shape.num_kv_heads) * shape.head_dim
    more = 2 * _FP32 * shape.hidden + 2 * size * shape.hidden + 2 * _FP32 * turned + 2 * size * shape.intermediate
    return _kept_by_layer(shape, size) + more


def _working_set(shape: ModelShape, size: int) -> int:
    """Bytes a position in the backward pass of an MLP: its activations once more and three gradients as wide."""
    return 4 * size * shape.intermediate + 3 * _FP32 * shape.hidden


def _sampler_copy(shape: ModelShape, size: int) -> int:
    """All projections, and the head in float32: laid out for oneDNN."""
    return size * shape.num_body + _FP32 * shape.vocabulary * shape.hidden


def _kv_cache(shape: ModelShape, work: Work, rows: int, size: int) -> int:
    """Prompts under way once, rows at their full length; both in whole blocks."""
    positions = min(work.largest_draw, rows) * _rounded_up(work.prompt_tokens) + rows * _rounded_up(
        work.completion_tokens
    )
    return 2 * size * shape.num_layers * shape.num_kv_heads * shape.head_dim * positions


def _rounded_up(positions: int) -> int:
    return -(-positions // CACHE_MULTIPLE) * CACHE_MULTIPLE


def _head(config: Config, shape: ModelShape, work: Work) -> int:
    """Gradients of head and embedding, which wait for each other if they are tied, and hidden states.

    With the reference ops all logits, three times over.
    """
    weight = 0 if shape.num_adapter else 2 * _FP32 * shape.vocabulary * shape.hidden
    rows = work.num_groups_together * work.num_samples * work.completion_tokens
    if config.model.ops == "reference":
        return weight + 3 * _FP32 * rows * shape.vocabulary
    return weight + 2 * _FP32 * rows * shape.hidden
