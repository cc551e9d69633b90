"""What `kernels.py` times: for each op, shape, type and gate, our run and the same work in torch, and their floor.

The torch sides are what one would write: `torch` holds all logits and their log-softmax in fp32 and multiplies the loss
by the gate's mask; `compile` is torch.compile of it; `chunked` takes 256 rows at a time under checkpointing. Entropies
choose the gate and carry no gradient. Floors: a copy of the logits (and one into new memory for a backward pass), or
the matrix products that are left when closed rows are not computed, in the type that the processor multiplies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from earl import ops
from earl.config import LossConfig
from earl.ops.token_logprob_entropy import stats_dtype

Run = Callable[[], tuple[torch.Tensor, ...]]
NUM_ROWS = 2048
SHAPES = {"smollm2": (576, 49_152), "qwen2.5": (896, 151_936)}  # hidden, vocabulary
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LENGTH = 256  # of the responses that the gate sees
CHUNK_ROWS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One line of the table. `gate` is the share of rows that has a gradient (of a forward pass: that is computed)."""

    op: str
    passes: str  # forward or forward_backward
    hidden: int
    vocab: int
    dtype: str
    gate: float
    gate_known: bool
    num_rows: int = NUM_ROWS

    @property
    def name(self) -> str:
        known = "/known" if self.gate_known else ""
        return f"{self.op}/{self.passes}/{self.hidden}x{self.vocab}/{self.dtype}/{self.gate}{known}"


def all_cases() -> list[Case]:
    """Every line, the quick ones first."""
    found = []
    for hidden, vocab in SHAPES.values():
        for dtype in DTYPES:
            part = partial(Case, hidden=hidden, vocab=vocab, dtype=dtype)
            given = partial(part, op="earl::token_logprob_entropy", gate_known=False)
            head = partial(part, op="earl::linear_token_logprob_entropy", passes="forward_backward")
            found += [
                given(passes="forward", gate=1.0),
                given(passes="forward_backward", gate=1.0),
                given(passes="forward_backward", gate=0.2),
                part(op="earl::token_statistics", passes="forward", gate=1.0, gate_known=False),
                part(op="earl::linear_token_logprob_entropy", passes="forward", gate=1.0, gate_known=False),
                part(op="earl::linear_token_logprob_entropy", passes="forward", gate=0.2, gate_known=True),
                head(gate=1.0, gate_known=False),
                head(gate=0.2, gate_known=False),
                head(gate=0.2, gate_known=True),
            ]
    tokens = partial(Case, hidden=0, vocab=0, dtype="float32", gate=0.2, num_rows=65_536)
    found.append(tokens(op="earl::entropy_gate", passes="forward", gate_known=False))
    found.append(tokens(op="earl::gated_surrogate", passes="forward_backward", gate_known=True))
    return found


class Inputs:
    """The tensors of a case, the same in every process."""

    def __init__(self, case: Case) -> None:
        generator = torch.Generator().manual_seed(0)
        dtype, rows = DTYPES[case.dtype], case.num_rows
        self.targets = torch.randint(0, max(case.vocab, 1), (rows,), generator=generator)
        self.entropy = torch.rand(rows, generator=generator)
        self.offsets = torch.arange(0, rows + 1, LENGTH)
        every = torch.ones(rows, dtype=torch.bool)
        self.gate = ops.entropy_gate(self.entropy, every, None, self.offsets, case.gate)
        self.positions = self.gate.nonzero().squeeze(1)
        self.leaves: tuple[torch.Tensor, ...] = ()
        if "linear" in case.op:
            hidden = torch.randn(rows, case.hidden, generator=generator)
            weight = torch.randn(case.vocab, case.hidden, generator=generator) * (3 / case.hidden**0.5)
            self.leaves = (hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_())
        elif case.vocab:
            self.leaves = ((torch.randn(rows, case.vocab, generator=generator) * 3).to(dtype).requires_grad_(),)
        else:
            self.leaves = (-torch.rand(rows, generator=generator).requires_grad_(),)
            self.leaves = tuple(leaf.detach().requires_grad_() for leaf in self.leaves)
            self.sampling = self.leaves[0].detach() + 0.2 * torch.randn(rows, generator=generator)
            self.advantages = torch.randn(rows, generator=generator)

    def cut(self, num_rows: int) -> "Inputs":
        """The first rows only: errors are measured on these."""
        part = object.__new__(Inputs)
        part.targets, part.gate = self.targets[:num_rows], torch.ones(num_rows, dtype=torch.bool)
        part.entropy, part.positions = self.entropy[:num_rows], torch.arange(num_rows)
        part.offsets = torch.tensor([0, num_rows])
        part.leaves = tuple(
            (leaf if index else leaf[:num_rows]).detach().requires_grad_() for index, leaf in enumerate(self.leaves)
        )
        return part

    def widened(self) -> "Inputs":
        """The same numbers in float64."""
        self.leaves = tuple(leaf.detach().double().requires_grad_() for leaf in self.leaves)
        return self


def ours(case: Case, inputs: Inputs) -> Run:
    """Our op at the case's work. Every run gives log-probs and entropies (forward) or gradients."""
    if case.op == "earl::entropy_gate":
        every = torch.ones_like(inputs.gate)
        return lambda: (ops.entropy_gate(inputs.entropy, every, None, inputs.offsets, case.gate),)
    if case.op == "earl::gated_surrogate":
        return partial(_surrogate, ops.gated_surrogate, inputs)
    if case.op == "earl::token_statistics":
        return lambda: tuple(ops.token_statistics(*inputs.leaves, inputs.targets, names=list(ops.STATISTICS)).values())
    if "linear" not in case.op:
        return partial(stats_passes, case, inputs, ops.token_logprob_entropy)
    if case.gate_known:
        return partial(_known_gate, case, inputs)
    return partial(stats_passes, case, inputs, ops.linear_token_logprob_entropy)


def plain(case: Case, inputs: Inputs) -> Run:
    """The same in plain torch. A gate that is known saves it nothing: the mask multiplies the loss."""
    if case.op == "earl::entropy_gate":
        every = torch.ones_like(inputs.gate)
        return lambda: (ops.entropy_gate_ref(inputs.entropy, every, None, inputs.offsets, case.gate),)
    if case.op == "earl::gated_surrogate":
        return partial(_surrogate, ops.gated_surrogate_ref, inputs)
    if case.op == "earl::token_statistics":
        return lambda: tuple(
            ops.token_statistics_ref(*inputs.leaves, inputs.targets, names=list(ops.STATISTICS)).values()
        )
    return partial(stats_passes, case, inputs, plain_stats)


def compiled(case: Case, inputs: Inputs) -> Run | None:
    """Plain torch through torch.compile, or None where that is no comparison."""
    if "logprob" not in case.op:
        return None
    return partial(stats_passes, case, inputs, torch.compile(plain_stats))


def chunked(case: Case, inputs: Inputs) -> Run | None:
    """Plain torch on 256 rows at a time, each part computed again in the backward pass; or None."""
    return partial(stats_passes, case, inputs, _chunked_stats) if "logprob" in case.op else None


def floor(case: Case, inputs: Inputs) -> Run | None:
    """The least that has to be done."""
    if "linear" in case.op:
        dtype = DTYPES[case.dtype] if torch.ops.earl.cpu_multiplies(DTYPES[case.dtype]) else torch.float32
        return partial(_products, case, inputs, [leaf.detach().to(dtype) for leaf in inputs.leaves])
    if case.op == "earl::token_logprob_entropy":
        logits = inputs.leaves[0].detach()
        buffer = torch.empty_like(logits)
        if case.passes == "forward":
            return lambda: (buffer.copy_(logits),)
        return lambda: (buffer.copy_(logits), logits.clone())  # the gradient is new memory
    return None


def plain_stats(*leaves_and_targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-prob and entropy of logits, or of a head's hidden states and weight."""
    *leaves, targets = leaves_and_targets
    logits = F.linear(*leaves) if len(leaves) == 2 else leaves[0]
    logprobs = F.log_softmax(logits.to(stats_dtype(logits.dtype)), dim=-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(1, targets[:, None])[:, 0], entropy


def naive_stats(*leaves_and_targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`plain_stats` all in the inputs' type: the error that ours is held against."""
    *leaves, targets = leaves_and_targets
    logprobs = F.log_softmax(F.linear(*leaves) if len(leaves) == 2 else leaves[0], dim=-1)
    return logprobs.gather(1, targets[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1).detach()


def _chunked_stats(*leaves_and_targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, *weight, targets = leaves_and_targets
    parts = [
        checkpoint(plain_stats, part, *weight, part_targets, use_reentrant=False)
        for part, part_targets in zip(rows.split(CHUNK_ROWS), targets.split(CHUNK_ROWS), strict=True)
    ]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def stats_passes(case: Case, inputs: Inputs, stats_of: Callable[..., tuple]) -> tuple[torch.Tensor, ...]:
    """The case's passes over all rows, with the statistics of `stats_of`."""
    if case.passes == "forward":
        with torch.no_grad():
            return tuple(stats_of(*inputs.leaves, inputs.targets))[:2]
    logprob, entropy = tuple(stats_of(*inputs.leaves, inputs.targets))[:2]
    gate = inputs.gate
    if case.gate < 1 and not case.gate_known:
        gate = ops.entropy_gate(entropy.detach(), torch.ones_like(gate), None, inputs.offsets, case.gate)
    return torch.autograd.grad((gate * logprob).sum(), inputs.leaves)


def _known_gate(case: Case, inputs: Inputs) -> tuple[torch.Tensor, ...]:
    run = partial(ops.linear_token_logprob_entropy, *inputs.leaves, inputs.targets, positions=inputs.positions)
    if case.passes == "forward":
        with torch.no_grad():
            return tuple(run())[:2]
    return torch.autograd.grad(run().logprob.sum(), inputs.leaves)


def _surrogate(op: Callable[..., ops.SurrogateOutput], inputs: Inputs) -> tuple[torch.Tensor, ...]:
    weights = (inputs.gate.float(), torch.full_like(inputs.sampling, 1e-3))
    output = op(*inputs.leaves, inputs.sampling, inputs.advantages, inputs.sampling, weights, LossConfig())
    return torch.autograd.grad(output.loss, inputs.leaves)


def _products(case: Case, inputs: Inputs, factors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    hidden, weight = factors
    gated = hidden[inputs.positions] if case.gate < 1 else hidden
    logits = torch.mm(gated if case.gate_known else hidden, weight.t())
    if case.passes == "forward":
        return (logits,)
    logits = torch.mm(gated, weight.t(), out=logits[: len(gated)])
    return torch.mm(logits, weight), torch.mm(logits.t(), gated)
