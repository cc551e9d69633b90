"""The records that pass through a training step. Shapes in trailing comments: _B responses, _T tokens, _N packed."""

from dataclasses import dataclass

import torch

from hdl_bench.types import Completion
from verifiers.types import Candidate, Problem, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Reward:
    """A reward and its parts by name. A pure function of the verdict."""

    value: float
    parts: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One judged completion."""

    problem_id: str
    completion: Completion
    candidate: Candidate | None
    verdict: Verdict
    reward: Reward | None  # None: the verdict is a tool error, which is never scored


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """The scored rollouts of one problem. Two or more, else the group was dropped."""

    problem: Problem
    rollouts: tuple[Rollout, ...]  # [G]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What loss denominators are taken from: counted over the whole optimiser batch, after drops."""

    num_tokens: int
    num_gated: int
    num_sequences: int
    max_tokens: int  # of one response: sampling.max_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenBatch:
    """The completion tokens of some responses, packed end to end: response b owns rows row_offsets[b]:row_offsets[b+1].

    Everything is detached: it comes from the sampler, the judge and passes without gradient.
    """

    row_offsets: torch.Tensor  # (B+1,) int64
    group_ids: torch.Tensor  # (B,) int64
    token_ids: torch.Tensor  # (N,) int64
    logprobs: torch.Tensor  # (N,) fp32, of the sampling policy
    entropies: torch.Tensor  # (N,) fp32, of the sampling policy, nats
    advantages: torch.Tensor  # (N,) fp32
    token_classes: torch.Tensor  # (N,) int64, indices of earl.token_class.CLASSES
    suspects: torch.Tensor | None = None  # (N,) bool, on a line that feeds a wrong output
    reference_logprobs: torch.Tensor | None = None  # (N,) fp32
    old_logprobs: torch.Tensor | None = None  # (N,) fp32, of the trainer before this step; None: the sampler's serve
    corrections: torch.Tensor | None = None  # (N,) fp32, truncated importance weights of sampler to trainer; None: 1

    @property
    def num_tokens(self) -> int:
        return int(self.token_ids.numel())

    @property
    def num_sequences(self) -> int:
        return int(self.group_ids.numel())

    @property
    def lengths(self) -> torch.Tensor:
        return self.row_offsets.diff()  # (B,)


@dataclass(frozen=True, kw_only=True, slots=True)
class LossOutput:
    """A scalar to call backward on, metrics by name (sums over the rows given, not yet divided), and the ratios."""

    loss: torch.Tensor
    metrics: dict[str, float]
    ratios: torch.Tensor  # (rows that the gate let through,), to the old policy, detached
