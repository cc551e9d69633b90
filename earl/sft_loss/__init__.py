"""Losses of supervised training: one small file a method; the dict picks it.

A loss is a function of the statistics of completion tokens that lie end to end, of the completions' lengths and of its
own parameters, to one value a token; tokens that do not train have 0. How many of a completion's tokens train follows
from its length alone, so that the mean over a batch is the same however the batch is cut into passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel

from earl.config import SftLossConfig
from earl.ops import TokenStats
from earl.params import NoParams, bind_params
from earl.sft_loss.cross_entropy import all_tokens, cross_entropy
from earl.sft_loss.entropy_bonus import EntropyBonusParams, entropy_bonus
from earl.sft_loss.light_if import LightIfParams, light_if, num_selected
from toolchain.errors import UsageError


@dataclass(frozen=True, slots=True)
class SftMethod:
    """A loss (N,), how many tokens of a completion of some length it trains, and the type of its parameters."""

    loss: Callable[[TokenStats, Sequence[int], Any], torch.Tensor]
    num_trained: Callable[[int, Any], int]
    params: type[BaseModel]


SFT_LOSSES = {
    "cross_entropy": SftMethod(cross_entropy, all_tokens, NoParams),
    "light_if": SftMethod(light_if, num_selected, LightIfParams),
    "entropy_bonus": SftMethod(entropy_bonus, all_tokens, EntropyBonusParams),
}


@dataclass(frozen=True, slots=True)
class SftLoss:
    """A method with its parameters bound."""

    method: SftMethod
    params: BaseModel

    def __call__(self, stats: TokenStats, lengths: Sequence[int]) -> torch.Tensor:
        """The loss (N,) of each token of completions of these lengths, end to end; 0 where it does not train."""
        return self.method.loss(stats, lengths, self.params)

    def num_trained(self, length: int) -> int:
        """Of a completion of so many tokens, those that train."""
        return self.method.num_trained(length, self.params)


def make_sft_loss(config: SftLossConfig) -> SftLoss:
    """The loss of a config. UsageError if there is none of that name, or none of its parameters."""
    if config.name not in SFT_LOSSES:
        raise UsageError(f"unknown sft.loss.name {config.name!r}; known: {', '.join(sorted(SFT_LOSSES))}")
    method = SFT_LOSSES[config.name]
    return SftLoss(method, bind_params(method.params, config.params, section="sft.loss.params", owner=config.name))
