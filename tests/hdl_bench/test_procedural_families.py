"""What every procedural family must keep, whatever it draws."""

import random
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdl_bench.procedural.families import FAMILIES
from hdl_bench.procedural.family import Design, design_key, render_prompt
from verifiers.interface import ports_of
from verifiers.static_check import static_check

CASES = [(name, level) for name, family in sorted(FAMILIES.items()) for level in family.levels]
NUM_SEEDS = 5


def draws(name: str, level: int, num_seeds: int = NUM_SEEDS) -> list[Design]:
    return [FAMILIES[name].draw(random.Random(seed), level) for seed in range(num_seeds)]


def test_a_familys_key_is_its_own_name_and_levels_ascend():
    for name, family in FAMILIES.items():
        assert name == family.name
        assert list(family.levels) == sorted(set(family.levels))
        assert set(family.levels) <= {1, 2, 3, 4, 5}
        assert family.summary.strip(".") == family.summary != ""


@pytest.mark.parametrize(("name", "level"), CASES)
def test_equal_seeds_draw_equal_designs(name, level):
    assert draws(name, level) == draws(name, level)


@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_golden_passes_the_static_check_with_exactly_the_ports_of_its_design(name, level):
    for design in draws(name, level):
        assert ports_of(design.golden, "TopModule") == design.ports
        assert static_check(design.golden, "TopModule", design.ports) is None, design.params


@pytest.mark.parametrize(("name", "level"), CASES)
def test_descriptions_differ_and_name_every_port_but_clocks(name, level):
    for design in draws(name, level):
        assert len(set(design.descriptions)) == len(design.descriptions) >= 3
        clocks = {clock.name for clock in design.protocol.clocks}
        for text in design.descriptions:
            words = set(re.findall(r"[A-Za-z_]\w*", text))
            missing = {port.name for port in design.ports} - clocks - words
            assert not missing, (design.params, missing, text)


@pytest.mark.parametrize(("name", "level"), CASES)
def test_the_protocol_names_ports_of_the_design(name, level):
    for design in draws(name, level):
        one_bit = {port.name for port in design.ports if port.direction == "input" and port.width == 1}
        protocol = design.protocol
        named = [*protocol.clocks, *protocol.resets]
        assert {item.name for item in named} <= one_bit
        assert {*protocol.rare_high, *protocol.rare_low} <= one_bit
        assert not set(protocol.rare_high) & set(protocol.rare_low)
        has_memory = "posedge" in design.golden or "negedge" in design.golden
        assert has_memory == bool(protocol.clocks)


@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_level_holds_enough_distinct_designs(name, level):
    rng = random.Random(7)
    keys = {design_key(name, FAMILIES[name].draw(rng, level).params) for _ in range(300)}
    assert len(keys) >= 90


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_count_of_distinct_designs_is_not_contradicted_by_sampling(name):
    """With n designs drawn evenly, m draws show about n (1 - exp(-m/n)); uneven draws show fewer, never many more."""
    family, rng = FAMILIES[name], random.Random(11)
    num_draws = 1_000
    levels = [family.levels[place % len(family.levels)] for place in range(num_draws)]
    seen = len({design_key(name, family.draw(rng, level).params) for level in levels})
    assert family.num_distinct >= 0.5 * seen
    assert seen >= 0.15 * min(num_draws, family.num_distinct)


@given(seed=st.integers(0, 10_000), other=st.integers(0, 10_000), case=st.sampled_from(CASES))
@settings(max_examples=300, deadline=None)
def test_equal_parameters_mean_equal_interfaces(seed, other, case):
    name, level = case
    first, second = (FAMILIES[name].draw(random.Random(s), level) for s in (seed, other))
    if first.params == second.params:
        shapes = [[(port.direction, port.width) for port in design.ports] for design in (first, second)]
        assert shapes[0] == shapes[1]


@given(seed=st.integers(0, 10_000), case=st.sampled_from(CASES))
@settings(max_examples=100, deadline=None)
def test_a_prompt_lists_each_port_and_ends_with_the_description(seed, case):
    name, level = case
    design = FAMILIES[name].draw(random.Random(seed), level)
    prompt = render_prompt(design.ports, design.descriptions[-1])
    assert prompt.count("\n - ") >= len(design.ports)
    assert prompt.endswith(design.descriptions[-1].strip() + "\n")


@pytest.mark.tool
@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_golden_elaborates_in_icarus(name, level, tmp_path):
    for seed, design in enumerate(draws(name, level, 2)):
        path = tmp_path / f"{seed}.v"
        path.write_text(design.golden)
        argv = ["iverilog", "-g2012", "-t", "null", str(path)]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert result.returncode == 0, (design.params, result.stderr)
        assert "error" not in result.stderr
