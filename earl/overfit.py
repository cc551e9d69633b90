"""The self-test that drives one problem to pass: a loop that cannot do that is broken.

It changes what stands in the way of learning one problem, and no method: all rollouts of a step are of that problem, it
is one whose rewards differ, and the temperature is lower.
"""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earl.config import Config
from earl.engine import make_engine
from earl.jobs import Session, training_text
from earl.policy import load_policy
from earl.reward import reward_of
from earl.run_folder import RunFolder
from earl.train import train
from hdl_bench.types import Sampling
from toolchain.errors import InfrastructureError
from verifiers.connect import Judge
from verifiers.judgement import Judgement
from verifiers.seeds import group_seed
from verifiers.types import Problem

TARGET = 0.9  # share of a step's rollouts that pass when a policy has learnt its one problem
# At 1 a policy that has made up its mind still fails by a token of the tail here and there: of 80 tokens at 0.4 % each
# a quarter of all completions has one, and so many rare mistakes are not unlearnt in a few steps.
_TEMPERATURE = 0.7
_NUM_STEPS = 60
_NUM_PROBED = 8  # problems that are sampled to choose one
_CHOICE = "overfit.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class OverfitResult:
    """The problem (None: no problem earned different rewards), and the pass rates of this run's steps."""

    problem_id: str | None
    rates: tuple[float, ...]

    @property
    def is_learnt(self) -> bool:
        return max(self.rates, default=0.0) >= TARGET

    @property
    def told(self) -> str:
        """One line for the person who ran it."""
        if self.problem_id is None:
            return (
                f"nothing to learn: all completions of {_NUM_PROBED} problems earn the same reward and none passes;"
                " take a policy that passes now and then (`earl sft`), or easier problems (problems.levels)"
            )
        best = max(self.rates, default=0.0)
        return f"{self.problem_id}: at best {best:.0%} of a step passed, in {len(self.rates)} steps"


def overfit_config(config: Config, overrides: Sequence[str]) -> Config:
    """The config of the self-test. What `overrides` of the command line say of steps and temperature stays."""
    size = config.train.num_problems * config.train.group_size
    given = {override.partition("=")[0].strip() for override in overrides}
    settings: dict[str, float] = {"num_problems": 1, "group_size": size, "num_minibatches": 1}
    if "train.num_steps" not in given:
        settings["num_steps"] = _NUM_STEPS
    temperature = config.sampling.temperature
    if "sampling.temperature" not in given:
        temperature = min(temperature, _TEMPERATURE)
    groups = {"filter": "none", "params": {}, "max_rounds": 0}  # there is no other problem to sample
    return config.model_copy(
        update={
            "train": config.train.model_copy(update=settings),
            "groups": config.groups.model_copy(update=groups),
            "sampling": config.sampling.model_copy(update={"temperature": temperature}),
        }
    )


def run_overfit(
    config: Config, run: RunFolder, problems: list[Problem], farm: Judge, session: Session, *, is_resumed: bool = False
) -> OverfitResult:
    """Train on one of the first problems until `TARGET` of a step's rollouts pass."""
    path = run.path / _CHOICE
    if not path.exists():
        choice = choose_problem(config, problems[:_NUM_PROBED], farm, session)
        run.write_json(_CHOICE, {"problem_id": choice.problem_id if choice else None})
    problem_id = json.loads(path.read_text(encoding="utf-8"))["problem_id"]
    if problem_id is None:
        return OverfitResult(problem_id=None, rates=())
    problem = next(problem for problem in problems if problem.problem_id == problem_id)
    line, hooks = session.hooks(f"overfit {problem_id}", training_text)
    rates: list[float] = []

    def on_step(step: int, num_steps: int, metrics: dict[str, float]) -> None:
        rates.append(metrics["pass_rate"])
        hooks.on_step(step, num_steps, metrics)

    def should_stop() -> bool:
        return session.should_stop() or (bool(rates) and rates[-1] >= TARGET)

    hooks_with_target = dataclasses.replace(hooks, should_stop=should_stop, on_step=on_step)
    with line:
        train(config, run, [problem], farm, is_resumed=is_resumed, hooks=hooks_with_target)
    return OverfitResult(problem_id=problem_id, rates=tuple(rates))


def chosen_before(path: Path, problems: list[Problem]) -> list[Problem]:
    """What a run to continue trains on: the problem that it has chosen, or all of them if it was killed before."""
    files = [folder / _CHOICE for folder in (path, path.parent.parent)]  # a run, or a checkpoint in one
    found = next((file for file in files if file.is_file()), None)
    name = json.loads(found.read_text(encoding="utf-8"))["problem_id"] if found else None
    return [problem for problem in problems if problem.problem_id == name] if name else problems


def choose_problem(config: Config, problems: list[Problem], farm: Judge, session: Session) -> Problem | None:
    """The problem whose rewards differ most, of those with a pass if there are any; of equal ones the first.

    A step's worth of completions is sampled over all of them. None when no rewards differ and nothing passes: group
    advantages are then all zero, and no learning rate helps.

    Raises:
        InfrastructureError: no completion could be judged.
    """
    engine = make_engine(load_policy(config.model.path, config.prompt), config.sampling, dtype=config.model.dtype)
    num_samples = max(2, config.train.group_size // len(problems))
    sampling = Sampling(
        num_samples=num_samples,
        max_tokens=config.sampling.max_tokens,
        temperature=config.sampling.temperature,
        seed=config.run.seed,
    )
    with session.console.status(f"looking for a problem to learn: {len(problems)} x {num_samples} samples"):
        completions = engine.generate([problem.prompt for problem in problems], sampling)
        judged = farm.judge_all(
            (problem, completion.text, (group_seed(config.run.seed, problem.problem_id, 0),))
            for problem, group in zip(problems, completions, strict=True)
            for completion in group
        )
    if not any(judgement.verdict.is_scored for judgement in judged):
        raise InfrastructureError(f"none of {len(judged)} completions could be judged; see `earl doctor`")
    groups = [judged[start : start + num_samples] for start in range(0, len(judged), num_samples)]
    ranks = [_rank(group, config) for group in groups]
    best = max(range(len(problems)), key=lambda index: (ranks[index], -index))
    return problems[best] if max(ranks[best]) > 0 else None


def _rank(group: Sequence[Judgement], config: Config) -> tuple[bool, float, bool]:
    """Whether something and not all of it passes, the spread of rewards, whether anything passes."""
    scored = [judgement.verdict for judgement in group if judgement.verdict.is_scored]
    passed = [verdict.passed for verdict in scored]
    rewards = [reward_of(verdict, config.reward).value for verdict in scored]
    return any(passed) and not all(passed), statistics.pstdev(rewards) if rewards else 0.0, any(passed)
