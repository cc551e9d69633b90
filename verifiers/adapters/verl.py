"""A reward function for verl: `compute_score(data_source, solution_str, ground_truth, extra_info=None)`.

In verl's configuration give this file as `custom_reward_function.path`, and under `reward_kwargs` who judges: verl has
many reward processes, so let them share a service, `verifier: http://HOST:PORT`. `ground_truth` is the problem as JSON
text. verl cannot leave a sample out: a tool error is asked for again and then raises, since any number would be a
reward. Imports nothing of verl.
"""

import functools
import threading
from pathlib import Path
from typing import Any

from toolchain.errors import InfrastructureError
from verifiers.adapters.common import pass_reward, problem_from_column
from verifiers.connect import FarmSettings, Judge, connect
from verifiers.seeds import group_seed

_TRIES = 3
_OPENING = threading.Lock()


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    *,
    verifier: str = "local",
    token_file: str = "",
    **kwargs: Any,
) -> dict[str, float]:
    """The score of one solution: 1 for a pass, else 0. `acc` is verl's name for the pass rate.

    All solutions of a problem are judged under one seed; it changes with `extra_info["epoch"]` where the data set has
    that. Further keywords of verl's are not used. Raises InfrastructureError when the tools fail thrice.
    """
    problem = problem_from_column(ground_truth)
    epoch = int((extra_info or {}).get("epoch", 0))
    seeds = (group_seed(0, problem.problem_id, epoch),)
    with _OPENING:
        judge = _judge(verifier, token_file)
    for _ in range(_TRIES):
        verdict = judge.submit(problem, solution_str, seeds).result().verdict
        if verdict.is_scored:
            score = pass_reward(verdict)
            return {"score": score, "acc": score}
    said = "; ".join(diagnostic.message for diagnostic in verdict.diagnostics)
    raise InfrastructureError(f"{problem.problem_id} ({data_source}) ended as a tool error {_TRIES} times: {said}")


@functools.cache
def _judge(verifier: str, token_file: str) -> Judge:
    """One judge a process, open until the process ends: verl calls from many threads and says no farewell."""
    return connect(verifier, FarmSettings(), token_file=Path(token_file) if token_file else None)
