"""The judge is lost: the step waits, a short outage leaves no trace, a long one ends the run with a checkpoint."""

from concurrent.futures import Future
from contextlib import nullcontext

import pytest
from click.testing import CliRunner
from fake_farm import FakeFarm
from test_train import _assert_same_end
from trainer_runs import PROBLEMS, by_checksum, make_config, metrics_of

from earl import checkpoint, farm_wait
from earl.cli import train as cli_train
from earl.farm_wait import FarmLost, Patience
from earl.hooks import Hooks, StepInterrupted
from earl.rollout import Rollout
from earl.run_folder import RunFolder
from earl.train import train
from hdl_bench.types import Completion
from toolchain.diagnostics import Diagnostic
from toolchain.errors import DeadlineExceeded, InfrastructureError
from verifiers.errors import PROBLEM_FAULT
from verifiers.types import Outcome, Stage, Verdict

pytestmark = pytest.mark.usefixtures("one_thread")


class _Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now_s, self.warnings = 100.0, []

    def patience(self, limit_s, should_stop=lambda: False):
        hooks = Hooks(warn=self.warnings.append, should_stop=should_stop)
        return Patience(limit_s=limit_s, hooks=hooks, now=lambda: self.now_s, sleep=self.sleep)

    def sleep(self, seconds):
        self.now_s += seconds


def _rollout(outcome, code=""):
    diagnostics = (Diagnostic(message="the disk is gone", code=code),)
    return Rollout(
        problem_id="p",
        completion=Completion(
            prompt_token_ids=(), token_ids=(), logprobs=(), entropies=(), text="", finish_reason="stop"
        ),
        candidate=None,
        verdict=Verdict(outcome=outcome, stage=Stage.SCREEN, seed=1, diagnostics=diagnostics),
        reward=None,
    )


def _answers(*answers):
    """A step that is asked for again and again: raises what is an exception."""
    left = list(answers)

    def ask():
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def test_pauses_double_and_what_is_waited_for_is_told():
    clock, good = _Clock(), [[_rollout(Outcome.PASSED)]]
    errors = [InfrastructureError("nobody answers")] * 4
    assert clock.patience(600.0).insist(_answers(*errors, good)) is good
    assert clock.now_s == pytest.approx(100 + 1 + 2 + 4 + 8)
    assert clock.warnings[2] == (
        "no verdicts: nobody answers. Waiting for the judge: it is asked again in 4 s, for up to 597 s more"
        " (verifier.wait_s)"
    )


def test_the_limit_counts_from_the_loss_and_ends_in_exit_code_three():
    clock = _Clock()
    with pytest.raises(FarmLost, match=r"waited for 5 s \(verifier.wait_s = 5\): nobody answers") as caught:
        clock.patience(5.0).insist(_answers(*[InfrastructureError("nobody answers")] * 9))
    assert clock.now_s == pytest.approx(105)
    assert caught.value.exit_code == 3
    assert isinstance(caught.value.__cause__, InfrastructureError)


def test_verdicts_that_still_came_are_not_counted_as_waiting():
    clock = _Clock()
    patience = clock.patience(5.0)
    done = Future()
    done.set_result("a verdict")

    def ask():
        clock.now_s += 100.0  # a long step, whose verdicts come
        assert patience.result(done, "the verdict on p", deadline_s=1.0) == "a verdict"
        raise InfrastructureError("nobody answers")

    with pytest.raises(FarmLost, match="waited for 101 s"):  # one pause and a second long step after the loss
        patience.insist(ask)


def test_nothing_but_tool_errors_is_a_lost_judge_too():
    clock, good = _Clock(), [[_rollout(Outcome.TOOL_ERROR), _rollout(Outcome.PASSED)]]
    lost = [[_rollout(Outcome.TOOL_ERROR)] * 2] * 2
    assert clock.patience(60.0).insist(_answers(lost, good)) is good
    (warning,) = clock.warnings
    assert "every verdict of the step is a tool error; the last: the disk is gone" in warning


def test_broken_problems_are_not_waited_for():
    clock, broken = _Clock(), [[_rollout(Outcome.TOOL_ERROR, PROBLEM_FAULT)] * 2]
    assert clock.patience(60.0).insist(_answers(broken)) is broken
    assert clock.now_s == 100.0
    assert clock.warnings == [
        "every problem of this step is broken, none of it is trained on: the disk is gone; see `earl problems check`"
    ]


def test_a_request_to_stop_ends_the_wait():
    clock = _Clock()
    with pytest.raises(StepInterrupted):
        clock.patience(60.0, should_stop=lambda: clock.now_s > 101.4).insist(_answers(*[InfrastructureError("x")] * 9))
    assert clock.now_s == pytest.approx(101.5)


def test_a_long_wait_for_one_verdict_is_told_and_has_an_end(monkeypatch):
    monkeypatch.setattr(farm_wait, "_TICK_S", 0.0)
    moments = iter(
        [0.0, 9.0, 11.0, 19.0, 21.0, 39.0, 61.0, 100.0]
    )  # one look at the clock before the wait, one after each tick
    warnings = []
    patience = Patience(hooks=Hooks(warn=warnings.append), now=lambda: next(moments))
    with pytest.raises(DeadlineExceeded, match="waited 90 s for the verdict on p"):
        patience.result(Future(), "the verdict on p", deadline_s=90.0)
    assert warnings == [f"waiting for the verdict on p since {seconds} s, at most 90 s" for seconds in (11, 21, 61)]


def test_the_judges_own_deadline_is_what_is_told():
    future = Future()
    future.set_exception(DeadlineExceeded("waited 600 s for 32 verdicts from http://x"))
    with pytest.raises(DeadlineExceeded, match="32 verdicts from http://x"):
        Patience().result(future, "the verdict on p", deadline_s=90.0)


class _LostFarm(FakeFarm):
    """Fails jobs from number `first` on, `num_lost` of them, in one of the ways in which a farm is lost."""

    def __init__(self, how, first, num_lost):
        super().__init__(by_checksum)
        self._how, self._lost = how, range(first, first + num_lost)
        self.num_asked = 0

    def submit(self, problem, text, seeds):
        self.num_asked += 1
        if self.num_asked not in self._lost:
            return super().submit(problem, text, seeds)
        if self._how == "refused":
            raise InfrastructureError("the farm fails fast")
        future = Future()
        if self._how == "unreachable":
            future.set_exception(DeadlineExceeded("waited 600 s for the service"))
        else:
            judgement = super().submit(problem, text, seeds).result()
            fault = Diagnostic(message="no space left on device", code="OSError")
            verdict = Verdict(outcome=Outcome.TOOL_ERROR, stage=Stage.SCREEN, seed=seeds[0], diagnostics=(fault,))
            future.set_result(type(judgement)(candidate=None, verdict=verdict))
        return future


@pytest.fixture(scope="module")
def unbroken(tiny_policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    config = make_config(tiny_policy, folder, "whole", train={"num_steps": 3})
    run = RunFolder.create(config, default_name="x")
    return run, train(config, run, PROBLEMS, FakeFarm(by_checksum))


# Steps ask for 8 verdicts each. Step 2 loses all of them, and for the first two ways more, asked for again.
@pytest.mark.parametrize(("how", "num_lost"), [("refused", 12), ("unreachable", 20), ("tool errors", 8)])
def test_a_short_outage_leaves_no_trace(tiny_policy, tmp_path, monkeypatch, unbroken, how, num_lost):
    monkeypatch.setattr(farm_wait, "_FIRST_PAUSE_S", 0.001)
    config = make_config(tiny_policy, tmp_path, "run", train={"num_steps": 3})
    run, warnings = RunFolder.create(config, default_name="x"), []
    farm = _LostFarm(how, first=9, num_lost=num_lost)
    result = train(config, run, PROBLEMS, farm, hooks=Hooks(warn=warnings.append))
    assert any("Waiting for the judge" in warning for warning in warnings)
    whole_run, whole = unbroken
    _assert_same_end(whole, result)
    assert metrics_of(run) == metrics_of(whole_run)


@pytest.mark.parametrize("how", ["refused", "unreachable", "tool errors"])
def test_a_long_outage_ends_with_a_checkpoint_and_nothing_is_trained_on(tiny_policy, tmp_path, unbroken, how):
    options = {"train": {"num_steps": 3}, "verifier": {"wait_s": 0.01}}
    config = make_config(tiny_policy, tmp_path, "run", **options)
    run = RunFolder.create(config, default_name="x")
    with pytest.raises(FarmLost):
        train(config, run, PROBLEMS, _LostFarm(how, first=9, num_lost=10**6))
    assert checkpoint.newest(run.checkpoints).step == 1
    assert [row["step"] for row in metrics_of(run)] == [1]
    again = FakeFarm(by_checksum)
    whole_run, whole = unbroken
    _assert_same_end(whole, train(config, run, PROBLEMS, again, is_resumed=True))
    assert metrics_of(run) == metrics_of(whole_run)


def test_the_command_says_how_to_go_on_and_ends_with_exit_code_three(tiny_policy, tmp_path, monkeypatch):
    path = tmp_path / "c.toml"
    path.write_text(
        f'[run]\ndir = "{tmp_path}/runs"\nname = "lost"\n[model]\npath = "{tiny_policy}"\ndtype = "float32"\n'
        "[train]\nnum_problems = 2\ngroup_size = 2\n[sampling]\nmax_tokens = 4\n[verifier]\nwait_s = 0.01\n"
        "[problems]\nnum_problems = 2\n"
    )
    farm = _LostFarm("refused", first=1, num_lost=10**6)
    monkeypatch.setattr(cli_train, "open_farm", lambda settings: nullcontext(farm))
    result = CliRunner().invoke(cli_train.command, [str(path)])
    assert isinstance(result.exception, FarmLost)
    assert result.exception.exit_code == 3
    assert f"continue with: earl train {path} --resume {tmp_path}/runs/lost" in result.stderr
    assert checkpoint.newest(tmp_path / "runs" / "lost" / "checkpoints").step == 0
