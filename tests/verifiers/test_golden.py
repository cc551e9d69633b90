"""Golden runs: what is read off a golden, and what is kept."""

import pytest

from verifiers.golden import harness_of, number_literals
from verifiers.stimulus import draw_stimulus
from verifiers.types import Clock, Port, Problem, Protocol, ReferenceOracle
from verifiers.verify import Verifier

_COUNTER = """module TopModule(input clk, input rst, output reg [9:0] q);
  always @(posedge clk) if (rst || q == 999) q <= 0; else q <= q + 1;
endmodule
"""


def _problem(golden: str, protocol: Protocol | None = None) -> Problem:
    oracle = ReferenceOracle(golden=golden, golden_top="TopModule", protocol=protocol)
    return Problem(problem_id="p", source="test", prompt="", top_module="TopModule", ports=None, oracle=oracle)


def test_number_literals_are_read_in_every_base_and_unknown_ones_are_left_out():
    source = "x = 16'hE0_6b + 4'b1x0 + 12 + 'hff + 8'd1_0 + 3.5 + 4'sd3 + 16 'h 7 + 6'o17 + 12; // 99"
    assert set(number_literals(source)) - {3, 5} == {0xE06B, 12, 255, 10, 7, 15}
    assert 99 not in number_literals(source)
    assert len(number_literals(source)) == len(set(number_literals(source)))


def test_ports_clock_and_a_long_enough_run_are_read_off_the_golden():
    harness = harness_of(_problem(_COUNTER))
    assert harness.ports[2] == Port(name="q", direction="output", width=10)
    assert [clock.name for clock in harness.protocol.clocks] == ["clk"]
    assert harness.protocol.min_cycles == 999 * 5 // 4


def test_a_protocol_that_the_problem_gives_is_kept_as_it_is():
    protocol = Protocol(clocks=(Clock(name="clk"),), min_cycles=7)
    assert harness_of(_problem(_COUNTER, protocol)).protocol == protocol


@pytest.mark.tool
def test_a_counter_is_driven_past_its_last_value():
    run = Verifier(isolation="rlimits").goldens.run(_problem(_COUNTER), 1)
    assert f"{999:010b}" in run.trace.values["q"]


@pytest.mark.tool
def test_a_fresh_run_has_the_same_trace_and_a_cached_one_is_the_same_object():
    goldens = Verifier(isolation="rlimits").goldens
    first = goldens.run(_problem(_COUNTER), 1)
    assert goldens.run(_problem(_COUNTER), 1) is first
    fresh = goldens.run(_problem(_COUNTER), 1, is_fresh=True)
    assert fresh is not first
    assert fresh == first


_DIVIDER = """module TopModule(input clk, input [7:0] period, output reg q, output never);
  reg [7:0] count = 0;
  initial q = 0;
  always @(posedge clk) if (count == period - 1) begin count <= 0; q <= ~q; end else count <= count + 1;
  assign never = 0;
endmodule
"""


@pytest.mark.tool
def test_a_design_whose_output_never_moves_is_driven_on_with_steady_inputs():
    problem = _problem(_DIVIDER)
    harness = harness_of(problem)
    seeds = range(4)
    usual = [draw_stimulus(harness.ports, harness.protocol, seed, literals=harness.literals) for seed in seeds]
    runs = [Verifier(isolation="rlimits").goldens.run(problem, seed) for seed in seeds]
    assert all(len(set(run.trace.values["q"])) > 1 for run in runs)
    assert any(len(run.stimulus.rows) > len(rows.rows) for run, rows in zip(runs, usual, strict=True))


@pytest.mark.tool
def test_an_output_that_is_a_constant_asks_for_no_longer_run():
    problem = _problem(_DIVIDER.replace("period - 1", "0"))
    harness = harness_of(problem)
    usual = draw_stimulus(harness.ports, harness.protocol, 1, literals=harness.literals)
    assert Verifier(isolation="rlimits").goldens.run(problem, 1).stimulus == usual


@pytest.mark.tool
def test_what_shows_very_late_is_waited_for_under_the_first_seed_alone():
    protocol = Protocol(clocks=(Clock(name="clk"),), min_cycles=9000)
    problem = _problem(_COUNTER, protocol)
    first, second = Verifier(isolation="rlimits").goldens.runs(problem, (1, 2))
    assert len(first.stimulus.rows) > 2 * 9000
    assert 2 * 4096 < len(second.stimulus.rows) < 2 * 9000
