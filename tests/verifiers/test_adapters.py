"""The reward functions, called exactly as TRL 1.16 and verl call them."""

import importlib.util
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from serving import PARITY, SlowFarm

from toolchain.errors import InfrastructureError, UsageError
from verifiers.adapters import verl
from verifiers.adapters.trl import make_reward_function
from verifiers.connect import judge_all
from verifiers.problem_json import problem_to_json
from verifiers.seeds import group_seed

PROBLEM = json.dumps(problem_to_json(PARITY))


class ListeningFarm(SlowFarm):
    def judge_all(self, jobs, progress=None):
        return judge_all(self, jobs, progress)


@dataclass
class State:
    epoch: float | None
    global_step: int = 3


@pytest.fixture
def farm() -> ListeningFarm:
    return ListeningFarm()


def call_as_trl(function, completions, problems, epoch=1.75):
    """As `GRPOTrainer._calculate_rewards` does."""
    metrics = {}
    rewards = function(
        prompts=["p"] * len(completions),
        completions=completions,
        completion_ids=[[1, 2]] * len(completions),
        problem=problems,
        difficulty=[1] * len(completions),
        trainer_state=State(epoch),
        log_extra=lambda column, values: None,
        log_metric=metrics.__setitem__,
    )
    return rewards, metrics


def test_trl_gets_a_float_each_and_none_for_a_tool_error(farm):
    function = make_reward_function(farm, run_seed=5)
    rewards, metrics = call_as_trl(function, ["passed", "tool_error", "mismatch", "passed"], [PROBLEM] * 4)
    assert rewards == [1.0, None, 0.0, 1.0]
    assert metrics == {"sim/pass_rate": 0.5, "sim/tool_error_rate": 0.25}
    assert {seeds for _, _, seeds in farm.jobs} == {(group_seed(5, "parity", 1),)}  # one seed a group, by epoch
    assert all(problem == PARITY for problem, _, _ in farm.jobs)


def test_trl_needs_a_name_and_may_leave_out_what_is_for_logging(farm):
    function = make_reward_function(farm, reward_of=lambda verdict: float(verdict.seed))
    assert function.__name__ == "verilog_reward"  # TRL names its metrics after it
    assert not inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters)[:3] == ["prompts", "completions", "completion_ids"]
    seed = float(group_seed(0, "parity", 0))
    assert function(prompts=["p"], completions=["mismatch"], completion_ids=[[1]], problem=[PROBLEM]) == [seed]


def test_trl_conversations_are_judged_by_their_last_message(farm):
    function = make_reward_function(farm)
    talk = [{"role": "assistant", "content": "thinking"}, {"role": "assistant", "content": "passed"}]
    assert call_as_trl(function, [talk], [PROBLEM], epoch=None)[0] == [1.0]
    for odd in ([], [{"role": "assistant", "content": [{"type": "text", "text": "x"}]}], None):
        with pytest.raises(UsageError, match="text or messages of text"):
            call_as_trl(function, [odd], [PROBLEM])


def test_trl_without_a_problem_column_is_told_so(farm):
    function = make_reward_function(farm)
    with pytest.raises(UsageError, match="a column `problem`; it has answer"):
        function(prompts=["p"], completions=["passed"], completion_ids=[[1]], answer=["x"])
    for bad, message in ((7, "must hold JSON text, got int"), ("{", "must hold JSON text"), ("{}", "lacks the key")):
        with pytest.raises(UsageError, match=message):
            call_as_trl(function, ["passed"], [bad])


def test_a_failure_of_ours_never_becomes_a_trl_reward(farm):
    farm.error = InfrastructureError("no simulator")
    with pytest.raises(InfrastructureError, match="no simulator"):
        call_as_trl(make_reward_function(farm), ["passed"], [PROBLEM])


@pytest.fixture
def verl_farm(monkeypatch) -> ListeningFarm:
    farm = ListeningFarm()
    verl._judge.cache_clear()
    monkeypatch.setattr(verl, "connect", lambda address, settings, *, token_file: farm)
    yield farm
    verl._judge.cache_clear()


def test_verl_calls_by_these_four_names_and_reads_score(verl_farm):
    parameters = inspect.signature(verl.compute_score).parameters
    assert list(parameters)[:4] == ["data_source", "solution_str", "ground_truth", "extra_info"]
    assert parameters["extra_info"].default is None
    for text, score in (("passed", 1.0), ("mismatch", 0.0)):
        result = verl.compute_score(
            data_source="verilog",
            solution_str=text,
            ground_truth=PROBLEM,
            extra_info={"num_turns": None, "rollout_reward_scores": {}, "epoch": 2},
            reward_router_address=None,
        )
        assert result == {"score": score, "acc": score}
    assert verl.compute_score("verilog", "passed", PROBLEM)["score"] == 1.0
    assert [seeds for _, _, seeds in verl_farm.jobs] == [(group_seed(0, "parity", epoch),) for epoch in (2, 2, 0)]


def test_verl_calls_from_many_threads_share_one_judge(verl_farm):
    with ThreadPoolExecutor(max_workers=4) as pool:
        results = pool.map(lambda text: verl.compute_score("d", text, PROBLEM), ["passed", "mismatch"] * 10)
    assert [result["score"] for result in results] == [1.0, 0.0] * 10


def test_a_tool_error_is_tried_again_for_verl_and_then_raises(verl_farm):
    with pytest.raises(InfrastructureError, match=r"parity \(d\) ended as a tool error 3 times"):
        verl.compute_score("d", "tool_error", PROBLEM)
    assert len(verl_farm.jobs) == 3


def test_verl_loads_the_file_by_its_path():
    spec = importlib.util.spec_from_file_location("custom_module", verl.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.compute_score)
