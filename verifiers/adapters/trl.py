"""A reward function for TRL (`GRPOTrainer(reward_funcs=...)`, `RLOOTrainer` alike; read in TRL 1.16).

TRL calls it with `prompts`, `completions`, `completion_ids`, `trainer_state`, `log_extra`, `log_metric` and a keyword
for each column of the data set, and takes a list of `float | None`. None leaves a completion out of its group: what a
tool error needs. Imports nothing of TRL.
"""

from collections.abc import Callable
from typing import Any, Protocol

from toolchain.errors import UsageError
from verifiers.adapters.common import pass_reward, problem_from_column
from verifiers.connect import Judge
from verifiers.seeds import group_seed
from verifiers.types import Verdict


class TrainerState(Protocol):
    """What is read of `transformers.TrainerState`."""

    epoch: float | None


def make_reward_function(
    judge: Judge, *, run_seed: int = 0, reward_of: Callable[[Verdict], float] = pass_reward
) -> Callable[..., list[float | None]]:
    """A function for `reward_funcs`. The data set's column `problem` holds each problem as JSON text.

    All completions of a problem are judged under one seed, which changes with the epoch.
    """

    def verilog_reward(
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]] | None = None,
        trainer_state: TrainerState | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: list[Any],
    ) -> list[float | None]:
        """One reward a completion, None where the verdict is a tool error. Raises EarlError when judging fails."""
        if "problem" not in columns:
            raise UsageError(f"the data set needs a column `problem`; it has {', '.join(columns) or 'none'}")
        epoch = int(trainer_state.epoch or 0) if trainer_state is not None else 0
        jobs = []
        for value, completion in zip(columns["problem"], completions, strict=True):
            problem = problem_from_column(value)
            jobs.append((problem, _text(completion), (group_seed(run_seed, problem.problem_id, epoch),)))
        verdicts = [judgement.verdict for judgement in judge.judge_all(jobs)]
        if log_metric is not None and verdicts:
            log_metric("sim/pass_rate", sum(verdict.passed for verdict in verdicts) / len(verdicts))
            log_metric("sim/tool_error_rate", sum(not verdict.is_scored for verdict in verdicts) / len(verdicts))
        return [reward_of(verdict) if verdict.is_scored else None for verdict in verdicts]

    return verilog_reward


def _text(completion: Any) -> str:
    """The text of a completion: a string, or in a conversation what its last message says."""
    content = completion[-1]["content"] if isinstance(completion, list) and completion else completion
    if not isinstance(content, str):
        raise UsageError(f"a completion must be text or messages of text, got {completion!r:.80}")
    return content
