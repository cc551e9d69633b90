"""Lists of procedural problems: order, splits, limits and messages."""

import random
from collections import Counter

import pytest

from hdl_bench.procedural.families import FAMILIES
from hdl_bench.procedural.family import design_key, split_of, to_problem
from hdl_bench.procedural.problems import make_problems
from toolchain.errors import UsageError
from verifiers.types import Problem


def problems(**changes: object) -> list[Problem]:
    arguments = {"families": None, "levels": (1, 2), "split": "train", "num_problems": 90, "seed": 3} | changes
    return make_problems(**arguments)


def key_of(problem: Problem) -> str:
    return problem.problem_id.split("-")[1]


def test_equal_arguments_give_equal_lists_and_another_seed_another_one():
    assert problems() == problems()
    assert problems(seed=4) != problems()


def test_a_shorter_list_is_a_prefix_of_a_longer_one():
    assert problems(num_problems=40) == problems()[:40]


def test_designs_are_distinct():
    keys = [key_of(problem) for problem in problems(num_problems=400)]
    assert len(set(keys)) == 400


def test_families_take_turns():
    chosen = ["gates", "mux", "shifter"]
    names = [problem.family for problem in problems(families=chosen, num_problems=10)]
    assert names == [*chosen, *chosen, *chosen, "gates"]


def test_levels_take_turns_within_a_family():
    levels = [p.difficulty for p in problems(families=["mux"], levels=(1, 3, 4), num_problems=7)]
    assert levels == [1, 3, 4, 1, 3, 4, 1]


def test_the_draws_of_a_family_do_not_depend_on_the_others():
    alone = problems(families=["mux"], num_problems=5)
    together = [p for p in problems(families=["gates", "mux"], num_problems=10) if p.family == "mux"]
    assert alone == together


def test_no_held_out_design_is_in_training_whatever_the_seed():
    held_out = {key_of(problem) for problem in problems(split="heldout", num_problems=300)}
    for seed in range(3):
        assert not held_out & {key_of(problem) for problem in problems(num_problems=300, seed=seed)}


def test_every_problem_lies_in_the_split_asked_for():
    assert {split_of(key_of(problem)) for problem in problems(split="heldout")} == {"heldout"}
    assert {split_of(key_of(problem)) for problem in problems()} == {"train"}


def test_the_split_of_a_key_is_its_first_eight_digits_modulo_100():
    assert split_of("0000004f0000") == "train"  # 0x4f = 79
    assert split_of("000000500000") == "heldout"  # 0x50 = 80
    assert split_of("000000640000") == "train"  # 0x64 = 100


def test_a_key_depends_on_family_and_parameters_but_not_on_their_order():
    assert design_key("mux", {"a": 1, "b": "x"}) == design_key("mux", {"b": "x", "a": 1})
    assert design_key("mux", {"a": 1}) != design_key("gates", {"a": 1})
    assert design_key("mux", {"a": 1}) != design_key("mux", {"a": "1"})


def test_about_a_fifth_of_all_designs_is_held_out():
    counts = Counter(split_of(design_key("any", {"number": number})) for number in range(5_000))
    assert 900 <= counts["heldout"] <= 1_100


def test_excluded_families_are_left_out():
    names = {p.family for p in problems(exclude_families=["mux", "gates"])}
    assert names == set(FAMILIES) - {"mux", "gates"} - {n for n, f in FAMILIES.items() if not {1, 2} & set(f.levels)}


def test_a_misspelt_family_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="'trooth_table'; did you mean 'truth_table'"):
        problems(families=["trooth_table"])
    with pytest.raises(UsageError, match="'muxx'; did you mean 'mux'"):
        problems(exclude_families=["muxx"])


def test_wrong_levels_and_splits_are_refused():
    with pytest.raises(UsageError, match="levels must be some of"):
        problems(levels=(0,))
    with pytest.raises(UsageError, match="levels must be some of"):
        problems(levels=())
    with pytest.raises(UsageError, match="unknown split 'test'; use one of train, heldout"):
        problems(split="test")


def test_a_named_family_without_the_level_is_refused():
    assert 1 not in FAMILIES["hierarchy"].levels
    with pytest.raises(UsageError, match="family hierarchy has no level among"):
        problems(families=["mux", "hierarchy"], levels=(1,))


def test_leaving_no_family_is_refused():
    with pytest.raises(UsageError, match="no family is left"):
        problems(families=["mux"], exclude_families=["mux"])


def test_an_exhausted_family_leaves_the_rotation_and_the_rest_goes_on():
    names = Counter(p.family for p in problems(families=["gates", "vector_slice"], levels=(1,), num_problems=420))
    assert names["gates"] < 210  # level 1 has 258 designs, about four fifths of them in training
    assert names["gates"] > 150
    assert sum(names.values()) == 420


def test_more_than_there_is_is_refused_with_the_number_found():
    with pytest.raises(UsageError, match=r"1000 problems asked for, only \d+ distinct designs found in split 'train'"):
        problems(families=["gates"], levels=(1,), num_problems=1000)


def test_a_problem_carries_its_designs_text_ports_and_protocol():

    family = FAMILIES["waveform"]
    design = family.draw(random.Random(5), 4)
    problem = to_problem(family, design, 4, 1)
    assert problem.problem_id == f"waveform-{design_key('waveform', design.params)}-1"
    assert design.descriptions[1].strip() in problem.prompt
    assert problem.prompt.startswith("\nI would like you to implement a module named TopModule with the following\n")
    assert (problem.ports, problem.difficulty, problem.family) == (design.ports, 4, "waveform")
    assert problem.oracle.golden == design.golden
    assert problem.oracle.protocol == design.protocol
