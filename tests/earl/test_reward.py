"""Rewards by hand, and what must hold for every verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earl.config import RewardConfig
from earl.reward import output_score, reward_of
from verifiers.types import Outcome, OutputScore, Stage, Verdict


def _output(num_mismatches: int, constant: float, num_samples: int = 10) -> OutputScore:
    return OutputScore(name="y", num_samples=num_samples, num_mismatches=num_mismatches, constant_fraction=constant)


def _verdict(outcome: Outcome, *outputs: OutputScore) -> Verdict:
    return Verdict(outcome=outcome, stage=Stage.COMPARE, seed=1, outputs=outputs)


@pytest.mark.parametrize(
    ("num_mismatches", "constant", "expected"),
    [(5, 0.5, 0.0), (2, 0.5, 0.6), (8, 0.5, 0.0), (0, 0.5, 1.0), (0, 1.0, 1.0), (1, 1.0, 0.0), (1, 0.0, 0.9)],
)
def test_an_output_is_worth_what_it_matches_beyond_the_best_constant(num_mismatches, constant, expected):
    assert output_score(_output(num_mismatches, constant)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (_verdict(Outcome.NO_CODE), 0.0),
        (_verdict(Outcome.SYNTAX_ERROR), 0.0),
        (_verdict(Outcome.FORBIDDEN_CONSTRUCT), 0.0),
        (_verdict(Outcome.INTERFACE_ERROR), 0.1),
        (_verdict(Outcome.ELABORATION_ERROR), 0.1),
        (_verdict(Outcome.TIMEOUT), 0.2),
        (_verdict(Outcome.MISMATCH, _output(10, 0.5)), 0.2),
        (_verdict(Outcome.MISMATCH, _output(2, 0.5), _output(5, 0.5)), 0.2 + 0.3 * 0.3),
        (_verdict(Outcome.PASSED, _output(0, 0.5)), 1.0),
    ],
)
def test_tiers_by_hand(verdict, expected):
    reward = reward_of(verdict, RewardConfig())
    assert reward.value == pytest.approx(expected)
    assert sum(reward.parts.values()) == pytest.approx(reward.value)


def test_a_tool_error_is_never_a_number():
    with pytest.raises(ValueError, match="tool error"):
        reward_of(_verdict(Outcome.TOOL_ERROR), RewardConfig())


@given(
    st.lists(st.tuples(st.integers(0, 10), st.floats(0, 1)).map(lambda pair: _output(*pair)), min_size=1, max_size=5)
)
def test_what_does_not_pass_stays_well_below_a_pass(outputs):
    assert reward_of(_verdict(Outcome.MISMATCH, *outputs), RewardConfig()).value <= 0.5
