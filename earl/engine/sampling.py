"""Choosing the next token, and turning finished rows into completions: what every engine of ours shares."""

import hashlib
from dataclasses import dataclass, field

import torch

from earl import ops
from earl.engine.decode_ops import sample_tokens
from earl.policy import PromptEncoder
from hdl_bench.types import Completion, Sampling


def choose_tokens(
    logits_RV: torch.Tensor, sampling: Sampling, uniforms_R: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token, its log-prob and the entropy per row, all of softmax(logits / temperature) in fp32.

    At temperature 0 the most likely token is taken and the statistics are those of temperature 1. top_p narrows the
    choice only: the statistics stay those of the whole distribution. `uniforms_R` decides the draws, one a row.
    """
    if sampling.temperature > 0 and sampling.top_p >= 1:
        return sample_tokens(logits_RV.float(), uniforms_R, sampling.temperature)
    temperature = sampling.temperature or 1.0
    if sampling.temperature == 0:
        token_ids = logits_RV.argmax(dim=-1)
    else:
        probs_RV = _nucleus(torch.softmax(logits_RV.float() / temperature, dim=-1), sampling.top_p)
        token_ids, _, _ = sample_tokens(probs_RV.log(), uniforms_R, 1.0)
    stats = ops.in_force().token_logprob_entropy(logits_RV, token_ids, temperature)
    return token_ids, stats.logprob, stats.entropy


def _nucleus(probs_RV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zero all but the smallest set of tokens whose probability reaches top_p (always at least one)."""
    sorted_probs, order = probs_RV.sort(dim=-1, descending=True)
    before = sorted_probs.cumsum(dim=-1) - sorted_probs
    return torch.zeros_like(probs_RV).scatter_(-1, order, sorted_probs.masked_fill(before >= top_p, 0.0))


def row_uniforms(sampling: Sampling, prompt: int, sample: int) -> torch.Tensor:
    """The random numbers (max_tokens,) of one row, fp64 in [0, 1): whatever is decoded beside it, they are the same."""
    digest = hashlib.sha256(f"{sampling.seed}:{prompt}:{sample}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.rand(sampling.max_tokens, generator=generator, dtype=torch.float64)


@dataclass(slots=True)
class RowRecord:
    """What was sampled for one row so far."""

    prompt_token_ids: list[int]
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    is_finished: bool = False

    def append(self, token_id: int, logprob: float, entropy: float, stop_token_ids: frozenset[int]) -> None:
        self.token_ids.append(token_id)
        self.logprobs.append(logprob)
        self.entropies.append(entropy)
        self.is_finished = token_id in stop_token_ids

    def to_completion(self, encoder: PromptEncoder, policy_version: int) -> Completion:
        """The finished record; one that never reached the stop token is marked "length"."""
        shown = self.token_ids[:-1] if self.is_finished else self.token_ids
        return Completion(
            prompt_token_ids=tuple(self.prompt_token_ids),
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
            entropies=tuple(self.entropies),
            text=encoder.decode(shown),
            finish_reason="stop" if self.is_finished else "length",
            policy_version=policy_version,
        )


def chunk_prompts(prompt_ids: list[list[int]], num_samples: int, max_rows: int) -> list[list[tuple[int, int]]]:
    """Rows (prompt index, number of its samples) in chunks of at most `max_rows` rows, similar lengths together."""
    order = sorted(range(len(prompt_ids)), key=lambda index: (len(prompt_ids[index]), index))
    chunks: list[list[tuple[int, int]]] = [[]]
    room = max_rows
    for index in order:
        left = num_samples
        while left:
            if room == 0:
                chunks.append([])
                room = max_rows
            # A group is split only when it is larger than a whole chunk.
            if room < left <= max_rows:
                chunks.append([])
                room = max_rows
            take = min(left, room)
            chunks[-1].append((index, take))
            left -= take
            room -= take
    return [chunk for chunk in chunks if chunk]
