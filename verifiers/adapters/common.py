"""What the adapters share: the reward of a verdict, and a problem out of a data set's column."""

import json

from toolchain.errors import UsageError
from verifiers.problem_json import problem_from_json
from verifiers.types import Problem, Verdict


def pass_reward(verdict: Verdict) -> float:
    """1 for a pass, 0 for anything else that is scored."""
    return 1.0 if verdict.passed else 0.0


def problem_from_column(value: object) -> Problem:
    """The problem that a data set holds as JSON text. UsageError when it is none."""
    if not isinstance(value, str):
        raise UsageError(f"a problem's column must hold JSON text, got {type(value).__name__}; see problem_to_json")
    try:
        return problem_from_json(json.loads(value))
    except json.JSONDecodeError as error:
        raise UsageError(f"a problem's column must hold JSON text: {error}; got {value!r:.80}") from error
