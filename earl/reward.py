"""The reward: a pure function of the verdict.

Tiers for code that parses, fits the interface and elaborates; then, for each output, what it matches beyond the best
constant; and 1 for a pass. A raw match fraction would pay a constant output about a half.
"""

from earl.config import OverlongConfig, RewardConfig
from earl.types import Reward
from verifiers.types import Outcome, OutputScore, Verdict

_PARSED = (Outcome.INTERFACE_ERROR, Outcome.ELABORATION_ERROR)
_RAN = (Outcome.MISMATCH, Outcome.TIMEOUT, Outcome.RESOURCE_LIMIT)


def output_score(output: OutputScore) -> float:
    """s = max(0, (m - c) / (1 - c)): matched fraction m beyond the best constant's c. At c = 1: 1 if m = 1, else 0."""
    matched, constant = output.matched_fraction, output.constant_fraction
    if constant >= 1.0:
        return 1.0 if matched >= 1.0 else 0.0
    return max(0.0, (matched - constant) / (1.0 - constant))


def reward_of(verdict: Verdict, config: RewardConfig) -> Reward:
    """The reward of a scored verdict and its parts.

    Raises:
        ValueError: the verdict is a tool error, which is never a number.
    """
    if not verdict.is_scored:
        raise ValueError("a tool error has no reward; drop the rollout from its group")
    parts = {"syntax": 0.0, "interface": 0.0, "partial": 0.0, "pass": 0.0}
    if verdict.passed:
        parts["pass"] = 1.0
    elif verdict.outcome in _PARSED or verdict.outcome in _RAN:
        parts["syntax"] = config.syntax
        if verdict.outcome in _RAN:
            parts["interface"] = config.interface
        if verdict.outcome is Outcome.MISMATCH and verdict.outputs:
            mean = sum(output_score(output) for output in verdict.outputs) / len(verdict.outputs)
            parts["partial"] = config.partial * mean
    return Reward(value=sum(parts.values()), parts=parts)


def overlong_penalty(num_tokens: int, max_tokens: int, config: OverlongConfig) -> float:
    """What a long completion loses (DAPO's soft punishment, arXiv 2503.14476): 0 up to max_tokens - buffer, then
    growing linearly to `penalty` at `max_tokens`."""
    if not config.buffer:
        return 0.0
    excess = num_tokens - (max_tokens - config.buffer)
    return config.penalty * min(1.0, max(0.0, excess / config.buffer))
