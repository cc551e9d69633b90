"""A problem survives the wire unchanged, and what is no problem is refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import UsageError
from verifiers.judgement import GROUP_JOB, GroupJob
from verifiers.problem_json import problem_from_json, problem_to_json
from verifiers.types import (
    Clock,
    CocotbOracle,
    PassRule,
    Port,
    Problem,
    Protocol,
    ReferenceOracle,
    Reset,
    TestbenchOracle,
)

TEXT = st.text(max_size=12)
PORTS = st.builds(Port, name=TEXT, direction=st.sampled_from(["input", "output"]), width=st.integers(1, 64))
NAMES = st.lists(TEXT, max_size=2).map(tuple)
PROTOCOLS = st.builds(
    Protocol,
    clocks=st.lists(st.builds(Clock, name=TEXT, edge=st.sampled_from(["posedge", "both"])), max_size=2).map(tuple),
    resets=st.lists(
        st.builds(Reset, name=TEXT, is_active_high=st.booleans(), is_synchronous=st.booleans()), max_size=2
    ).map(tuple),
    min_cycles=st.integers(0, 1000),
    rare_high=NAMES,
    rare_low=NAMES,
)
GOLDEN = {"golden": st.none() | TEXT, "golden_top": st.none() | TEXT, "protocol": st.none() | PROTOCOLS}
FILES = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
ORACLES = st.one_of(
    st.builds(ReferenceOracle, golden=TEXT, golden_top=TEXT, protocol=st.none() | PROTOCOLS),
    st.builds(TestbenchOracle, testbench=TEXT, rule=st.sampled_from(PassRule), files=FILES, **GOLDEN),
    st.builds(CocotbOracle, test_source=TEXT, is_trusted=st.booleans(), files=FILES, **GOLDEN),
)
PROBLEMS = st.builds(
    Problem,
    problem_id=TEXT,
    source=TEXT,
    prompt=TEXT,
    top_module=TEXT,
    ports=st.none() | st.lists(PORTS, max_size=3).map(tuple),
    oracle=ORACLES,
    family=TEXT,
    difficulty=st.integers(0, 5),
)


def minimal() -> dict[str, object]:
    return {
        "problem_id": "p1",
        "source": "mine",
        "prompt": "Invert a.",
        "top_module": "Top",
        "ports": [{"name": "a", "direction": "input"}, {"name": "y", "direction": "output", "width": 4}],
        "oracle": {"kind": "reference", "golden": "module G; endmodule", "golden_top": "G"},
    }


@given(PROBLEMS)
def test_a_problem_comes_back_unchanged(problem):
    assert problem_from_json(json.loads(json.dumps(problem_to_json(problem)))) == problem


@given(PROBLEMS)
def test_a_job_comes_back_from_a_worker_with_its_own_kind_of_oracle(problem):
    job = GroupJob(problem=problem, completion_texts=("x",), seeds=(1,))
    assert GROUP_JOB.validate_json(GROUP_JOB.dump_json(job)) == job


@given(PROBLEMS, st.data())
def test_an_unknown_key_at_the_top_is_refused_by_name(problem, data):
    name = data.draw(st.text(st.characters(categories=["Ll"]), min_size=1, max_size=8).map(lambda text: "x_" + text))
    with pytest.raises(UsageError, match=name):
        problem_from_json(problem_to_json(problem) | {name: 1})


def test_fields_with_a_default_may_be_left_out():
    problem = problem_from_json(minimal())
    assert problem.ports == (Port(name="a", direction="input", width=1), Port(name="y", direction="output", width=4))
    assert problem.oracle == ReferenceOracle(golden="module G; endmodule", golden_top="G", protocol=None)
    assert (problem.family, problem.difficulty) == ("", 0)


def test_the_wire_form_is_lists_and_dicts_with_the_oracles_kind():
    data = problem_to_json(problem_from_json(minimal()))
    assert data["ports"] == [
        {"name": "a", "direction": "input", "width": 1},
        {"name": "y", "direction": "output", "width": 4},
    ]
    assert data["oracle"] == {
        "kind": "reference", "golden": "module G; endmodule", "golden_top": "G", "protocol": None
    }  # fmt: skip


@pytest.mark.parametrize("key", ["problem_id", "source", "prompt", "top_module", "ports", "oracle"])
def test_a_missing_key_is_refused_by_name(key):
    data = minimal()
    del data[key]
    with pytest.raises(UsageError, match=f"problem lacks the key '{key}'"):
        problem_from_json(data)


def nested(path: str, value: object) -> dict[str, object]:
    """The minimal problem with `value` put at `path` ("oracle.protocol")."""
    data = minimal()
    *parents, last = path.split(".")
    place = data
    for name in parents:
        place = place[name]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("difficulty", "hard", "problem.difficulty must be of type int, got 'hard'"),
        ("difficulty", True, "problem.difficulty must be of type int, got True"),
        ("ports", {"a": 1}, "problem.ports must be a list, got dict"),
        ("ports", [{"name": "a"}], r"problem.ports\[0\] lacks the key 'direction'"),
        ("ports", [{"name": "a", "direction": "input", "wide": 2}], r"problem.ports\[0\] has the unknown key 'wide'"),
        ("oracle", "G", "problem.oracle must be an object with the key 'kind', one of reference"),
        ("oracle.kind", "oracle", "problem.oracle.kind is 'oracle'; use one of reference"),
        ("oracle.golden", None, "problem.oracle.golden must be of type str, got None"),
        ("oracle.protocol", {"clock": []}, "problem.oracle.protocol has the unknown key 'clock'; its keys are clocks,"),
        ("oracle.protocol", {"min_cycles": 1.5}, "problem.oracle.protocol.min_cycles must be of type int, got 1.5"),
        ("oracle.protocol", {"rare_high": [1]}, r"problem.oracle.protocol.rare_high\[0\] must be of type str, got 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path, value, message):
    with pytest.raises(UsageError, match=message):
        problem_from_json(nested(path, value))


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(UsageError, match="problem must be an object"):
        problem_from_json(data)
