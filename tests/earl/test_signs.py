"""Early-warning signs in runs that go wrong: each is told in one line, with what to do."""

import zlib
from dataclasses import replace

import pytest
from fake_farm import FakeFarm
from trainer_runs import PROBLEMS, make_config

from earl.control.signs import SIGNS
from earl.hooks import Hooks
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.diagnostics import Diagnostic
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")


def _letters(text):
    return Outcome.PASSED if sum(map(str.isalpha, text)) > 0.35 * len(text) else Outcome.SYNTAX_ERROR


def _short(text):
    return Outcome.PASSED if len(text) < 48 else Outcome.SYNTAX_ERROR


def _cheating(text):
    return (Outcome.FORBIDDEN_CONSTRUCT, Outcome.PASSED, Outcome.MISMATCH)[zlib.crc32(text.encode()) % 3]


class _Farm(FakeFarm):
    """Refuses with the rule's words, and passes half of the texts under the training seeds alone."""

    def submit(self, problem, text, seeds):
        future = super().submit(problem, text, seeds)
        judgement = future.result()
        verdict = judgement.verdict
        if verdict.outcome is Outcome.FORBIDDEN_CONSTRUCT:
            verdict = replace(verdict, diagnostics=(Diagnostic(message="'$finish' is not allowed", code="test"),))
        elif verdict.passed and seeds == EVAL_SEEDS and len(text) % 2:
            verdict = replace(verdict, outcome=Outcome.MISMATCH)
        again = type(future)()
        again.set_result(replace(judgement, verdict=verdict))
        return again


# What is wrong with a run: its farm, its config, and the signs that must speak, each once in a while.
BROKEN = {
    "a learning rate that ruins the policy": (
        _letters,
        {"train": {"num_steps": 5, "learning_rate": 1.0}, "gate": {"name": "open"}},
        {"entropy_collapse", "zero_variance"},
    ),
    "a gate that follows the policy": (
        _letters,
        {"train": {"num_steps": 5, "learning_rate": 1.0}, "gate": {"params": {"min_entropy": 4.0}}},
        {"kept_fraction_drift"},
    ),
    "a reward of short answers": (
        _short,
        {"train": {"num_steps": 15, "learning_rate": 0.05}, "gate": {"name": "open"}},
        {"length_drift"},
    ),
    "rewards that are all equal": (lambda text: Outcome.SYNTAX_ERROR, {"train": {"num_steps": 2}}, {"zero_variance"}),
    "cheats, and passes by luck": (_cheating, {"train": {"num_steps": 2}}, {"forbidden_constructs", "recheck_gap"}),
}
BEGINNINGS = {name: sign.advice.partition("{")[0] for name, sign in SIGNS.items()}
BEGINNINGS |= {"zero_variance": "of the groups teach nothing", "recheck_gap": "of the passes fail"}


@pytest.mark.parametrize("what", BROKEN)
def test_a_run_that_goes_wrong_is_told_of_in_one_line_a_sign(tiny_policy, tmp_path, what):
    outcome_of, sections, expected = BROKEN[what]
    options = {"num_problems": 4, "group_size": 8, "learning_rate": 1e-3} | sections["train"]
    config = make_config(
        tiny_policy,
        tmp_path,
        "run",
        sampling={"max_tokens": 32},
        log={"signs": {"first_steps": 2, "recheck_every": 2}},
        **sections | {"train": options},
    )
    lines = []
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, _Farm(outcome_of), hooks=Hooks(warn=lines.append))
    spoken = {name for name, words in BEGINNINGS.items() if any(words in line for line in lines)}
    assert expected <= spoken
    assert all(line.startswith("step ") and "\n" not in line for line in lines)


def test_every_sign_has_a_run_that_shows_it():
    assert set().union(*(expected for _, _, expected in BROKEN.values())) == set(SIGNS)
