"""What steers a run: group filters, orders of problems, moving references, warning signs."""

import json
import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import build_tiny_model

from earl.config import GroupsConfig, KlConfig, SignsConfig, config_from_dict
from earl.control.filters import GroupFigures, make_filter
from earl.control.order import (
    AdaptiveParams,
    CurriculumParams,
    Record,
    adaptive_weights,
    curriculum_weights,
    weighted_draw,
)
from earl.control.reference import Reference, reference_params
from earl.control.signs import SIGNS, Signs
from earl.problem_stream import ProblemStream, WeightedStream, make_source
from toolchain.errors import UsageError
from verifiers.types import Problem, ReferenceOracle


def _problem(name, family="a", difficulty=1):
    return Problem(
        problem_id=name,
        source="test",
        prompt="x",
        top_module="TopModule",
        ports=None,
        oracle=ReferenceOracle(golden="", golden_top="TopModule"),
        family=family,
        difficulty=difficulty,
    )


PROBLEMS = tuple(_problem(f"p{number}") for number in range(10))


def _figures(*values):
    return [GroupFigures(std=std, is_flat=std < 0.02, pass_rate=rate) for std, rate in values]


def test_filters_by_hand():
    groups = _figures((0.0, 1.0), (0.5, 0.5), (0.3, 0.05), (0.4, 0.2))
    assert make_filter(GroupsConfig())(groups) == [True] * 4
    assert make_filter(GroupsConfig(filter="variance"))(groups) == [False, True, True, True]
    assert make_filter(GroupsConfig(filter="pass_rate"))(groups) == [False, True, False, True]
    bounds = GroupsConfig(filter="pass_rate", params={"low": 0.0, "high": 0.2})
    assert make_filter(bounds)(groups) == [False, False, True, True]
    assert make_filter(GroupsConfig(filter="top_std", params={"fraction": 0.5}))(groups) == [False, True, False, True]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GroupsConfig(filter="varianz"), "unknown groups.filter 'varianz'; known: none, pass_rate"),
        (GroupsConfig(filter="variance", params={"low": 1}), "groups.params.low"),
        (GroupsConfig(filter="top_std", max_rounds=1), "needs a filter that judges each group for itself"),
        (GroupsConfig(max_rounds=1), "got groups.filter = 'none'"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(config, message):
    with pytest.raises(UsageError, match=message):
        make_filter(config)


def test_adaptive_weights_are_highest_at_half_and_never_zero():
    history = {"p0": Record(pass_rate=0.5, num_visits=3), "p1": Record(pass_rate=1.0, num_visits=1)}
    history |= {"p2": Record(pass_rate=0.0, num_visits=1), "p3": Record(pass_rate=0.25, num_visits=1)}
    weights = adaptive_weights(PROBLEMS[:5], history, AdaptiveParams(floor=0.1))
    assert weights == [1.0, 0.1, 0.1, 0.75, 1.0]  # the last was never seen: the prior is one half


def test_a_curriculum_opens_a_family_when_the_one_before_is_mastered():
    problems = (_problem("h", "hard", 3), _problem("e", "easy", 1), _problem("m", "middle", 2))
    params = CurriculumParams(unlock_at=0.5, min_visits=2)

    def opened(**history):
        records = {name: Record(pass_rate=rate, num_visits=visits) for name, (rate, visits) in history.items()}
        weights = curriculum_weights(problems, records, params)
        return {problem.problem_id for problem, weight in zip(problems, weights, strict=True) if weight}

    assert opened() == {"e"}
    assert opened(e=(0.9, 1)) == {"e"}  # one visit says little
    assert opened(e=(0.4, 9)) == {"e"}
    assert opened(e=(0.6, 2)) == {"e", "m"}
    assert opened(e=(0.6, 2), m=(0.5, 2)) == {"e", "m", "h"}
    assert curriculum_weights(problems, {}, CurriculumParams(families=("hard", "easy"))) == [1.0, 0.0, 0.0]


def test_a_weighted_draw_is_without_repetition_and_follows_the_weights():
    rng = random.Random(0)
    counts = [0] * 3
    for _ in range(2000):
        chosen = weighted_draw([1.0, 2.0, 1.0], 1, rng)
        counts[chosen[0]] += 1
    assert counts[1] == pytest.approx(1000, abs=90)  # four deviations
    assert sorted(weighted_draw([1.0, 0.0, 0.5], 3, rng)) == [0, 1, 2]
    assert all(1 not in weighted_draw([1.0, 0.0, 0.5], 2, rng) for _ in range(100))


def _weighted(order="adaptive", **params):
    return make_source(
        PROBLEMS, config_from_dict({"problems": {"order": order, "params": params}, "train": {"num_problems": 4}}, "t")
    )


def test_problems_near_half_are_drawn_more_often():
    source = _weighted(floor=0.05)
    assert isinstance(source, WeightedStream)
    source.observe([(f"p{number}", 0.5 if number < 3 else 1.0) for number in range(10)])
    drawn = [problem.problem_id for step in range(1, 51) for problem in source.batch(step)[0]]
    near = sum(name in ("p0", "p1", "p2") for name in drawn)
    assert near / len(drawn) > 0.6  # 30 % if all were alike


def test_an_order_with_its_state_goes_on_as_if_never_stopped():
    whole, first = _weighted(), _weighted()
    rates = random.Random(1)
    seen = []
    for step in range(1, 9):
        outcomes = [(problem.problem_id, rates.random()) for problem in whole.batch(step)[0]]
        seen.append(outcomes)
        whole.observe(outcomes)
    for step in range(4):
        first.observe(seen[step])
    second = _weighted()
    second.load_state_dict(first.state_dict())
    for step in range(4, 8):
        assert [(p.problem_id) for p in second.batch(step + 1)[0]] == [name for name, _ in seen[step]]
        second.observe(seen[step])
    assert second.state_dict() == whole.state_dict()


@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 6), st.sampled_from(["shuffled", "adaptive"]))
def test_further_rounds_bring_problems_that_the_step_has_not_had(step, number, num, order):
    source = _weighted(order)
    taken, epoch = source.batch(step)
    more = source.more(step, number, num, taken)
    names = [problem.problem_id for problem in (*taken, *more)]
    assert len(set(names)) == len(names) == 4 + num
    assert more == source.more(step, number, num, taken)
    assert epoch == (step - 1) // 2  # ten problems make two whole batches of four
    assert len(source.more(step, number, 99, taken)) == 6


def test_an_unknown_order_or_parameter_is_named():
    with pytest.raises(UsageError, match=r"unknown problems\.order 'adaptiv'"):
        _weighted("adaptiv")
    with pytest.raises(UsageError, match=r"problems\.params\.flor"):
        _weighted("adaptive", flor=1)
    assert isinstance(_weighted("shuffled"), ProblemStream)


def _reference(config, encoder_size=40):
    return Reference(build_tiny_model(encoder_size, seed=0), reference_params(config))


def test_references_follow_the_policy_as_they_say():
    start, policy = build_tiny_model(40, seed=0), build_tiny_model(40, seed=1)
    name = "model.embed_tokens.weight"
    begin, target = (model.state_dict()[name].clone() for model in (start, policy))
    expected = {
        "fixed": [begin, begin, begin],
        "ema": [begin + (1 - 0.9**n) * (target - begin) for n in (1, 2, 3)],
        "renewed": [begin, target, target],
    }
    for kind, params in (("fixed", {}), ("ema", {"decay": 0.9}), ("renewed", {"every": 2})):
        reference = _reference(KlConfig(beta=0.1, reference=kind, params=params))
        for step in (1, 2, 3):
            reference.update(policy, step)
            torch.testing.assert_close(reference.model.state_dict()[name], expected[kind][step - 1])


def test_a_moving_reference_is_state_and_a_fixed_one_is_not():
    policy = build_tiny_model(40, seed=1)
    moved = _reference(KlConfig(reference="ema"))
    moved.update(policy, 1)
    again = _reference(KlConfig(reference="ema"))
    again.load_state_dict(moved.state_dict())
    pairs = zip(moved.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert _reference(KlConfig()).state_dict() == {}
    with pytest.raises(UsageError, match=r"kl\.params\.decai"):
        reference_params(KlConfig(reference="ema", params={"decai": 0.5}))
    with pytest.raises(UsageError, match=r"unknown kl\.reference 'eam'"):
        reference_params(KlConfig(reference="eam"))


HEALTHY = {
    "entropy": 1.0,
    "completions/mean_length": 100.0,
    "frac_reward_zero_std": 0.2,
    "gate/kept_fraction": 0.2,
    "cheat/refused": 0.0,
    "cheat/recheck_gap": 0.0,
}
SICK = {
    "entropy_collapse": ("entropy", 0.2, "0.200 nats from 1.000"),
    "length_drift": ("completions/mean_length", 201.0, "201 tokens long, 100 at first"),
    "zero_variance": ("frac_reward_zero_std", 0.75, "75% of the groups"),
    "kept_fraction_drift": ("gate/kept_fraction", 0.1, "10% of the tokens through, 20% at first"),
    "forbidden_constructs": ("cheat/refused", 0.1, r"refuses 10% .*most by force_statement"),
    "recheck_gap": ("cheat/recheck_gap", 0.1, "10% of the passes"),
}


@pytest.mark.parametrize("name", SIGNS)
def test_each_sign_speaks_once_an_episode(name):
    metric, value, words = SICK[name]
    sick = HEALTHY | {metric: value, "cheat/force_statement": 0.07, "cheat/system_name": 0.03}
    signs = Signs(SignsConfig(first_steps=2))
    quiet = [signs.update(HEALTHY) for _ in range(4)]
    assert quiet == [[]] * 4
    (line,) = signs.update(sick)
    assert re.search(words, line)
    assert "\n" not in line
    assert signs.update(sick) == []  # the same episode
    assert signs.update(HEALTHY) == []
    assert len(signs.update(sick)) == 1  # a new one
    assert signs.update({"reward": 0.0}) == []  # a step without the metric


def test_a_length_may_drift_either_way():
    signs = Signs(SignsConfig(first_steps=1))
    assert signs.update(HEALTHY) == []
    assert len(signs.update(HEALTHY | {"completions/mean_length": 49.0})) == 1
    assert signs.update(HEALTHY | {"completions/mean_length": 51.0}) == []


def test_signs_of_a_resumed_run_know_its_first_steps_and_what_was_said():
    sick = HEALTHY | {"entropy": 0.1}

    def resumed_after(*steps):
        before, after = Signs(SignsConfig(first_steps=1)), Signs(SignsConfig(first_steps=1))
        for metrics in steps:
            before.update(metrics)
        after.load_state_dict(json.loads(json.dumps(before.state_dict())))
        return after

    assert resumed_after(HEALTHY, HEALTHY).update(sick) != []
    assert resumed_after(HEALTHY, sick).update(sick) == []
    assert resumed_after().update(sick) == []  # the first step is its own measure
    assert Signs(SignsConfig(is_on=False)).update(sick) == []
