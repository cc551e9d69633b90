"""A harness under a nonce: nothing of it keeps a name that a candidate could know."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stock_checkout import PROBLEMS

from verifiers.cache import DiskCache
from verifiers.errors import ProblemError
from verifiers.lexer import LexemeKind, lex
from verifiers.stock_rename import read_harness
from verifiers.stock_store import StockStore
from verifiers.types import PassRule, Port, TestbenchOracle

NONCE = "00112233445566aa"
SMALL = """
`define LIMIT 3
module Ref(input clk, output q); assign q = clk; endmodule
module bench;
  reg clk = 0; wire q, want;
  Ref good (.clk, .q(want));
  Dut #(.N(`LIMIT)) dut (.clk, .q(q));
  task show(input integer n); $display("Mismatches: %0d in 2 samples", n); endtask
  initial begin : body #1 show(q !== want); $display("%b", dut.inner.state); end
endmodule
"""


def oracle_of(testbench: str, **fields) -> TestbenchOracle:
    return TestbenchOracle(testbench=testbench, rule=fields.pop("rule", PassRule.MISMATCH_COUNT), **fields)


def rendered(testbench: str, ports=frozenset(("clk", "q")), **fields) -> tuple[str, str]:
    return read_harness(oracle_of(testbench, **fields), candidate_top="Dut", port_names=ports).render(NONCE)


def words(text: str) -> set[str]:
    return {text[x.start : x.end] for x in lex(text) if x.kind in (LexemeKind.IDENTIFIER, LexemeKind.DIRECTIVE)}


def test_modules_instances_tasks_blocks_nets_and_macros_carry_the_nonce():
    top, text = rendered(SMALL)
    assert top == f"bench${NONCE}"
    for name in ("Ref", "bench", "good", "dut", "show", "n", "body", "want", "LIMIT"):
        assert f"{name}${NONCE}" in text
        assert name not in words(text)
    assert {f"`LIMIT${NONCE}", "`define"} <= words(text)


def test_the_candidates_module_ports_parameters_and_insides_keep_their_names():
    _, text = rendered(SMALL)
    assert {"Dut", "clk", "q", "N", "inner", "state"} <= words(text)
    assert f"Dut #(.N(`LIMIT${NONCE})) dut${NONCE} (.clk, .q(q))" in text
    assert f"dut${NONCE}.inner.state" in text


def test_the_result_line_starts_with_the_nonce_and_other_text_stays():
    _, text = rendered(SMALL)
    assert f'"{NONCE} Mismatches: %0d in 2 samples"' in text
    assert '"%b"' in text


def test_a_banner_carries_the_nonce_right_before_its_words():
    testbench = 'module tb; Dut d (); initial $display("\\n====Your Design Passed===="); endmodule'
    _, text = rendered(testbench, rule=PassRule.BANNER)
    assert f'"\\n===={NONCE} Your Design Passed===="' in text


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_no_name_of_a_verilog_eval_harness_is_left(problem):
    oracle = oracle_of(problem.harness(), golden=problem.source("RefModule"), golden_top="RefModule", top="tb")
    ports = frozenset(name for _, _, name in problem.ports)
    top, text = read_harness(oracle, candidate_top="TopModule", port_names=ports).render(NONCE)
    assert top == f"tb${NONCE}"
    known = "tb stimulus_gen RefModule good1 top_module1 stim1 tb_match tb_mismatch stats1 stats wavedrom_start `OK"
    assert not words(text) & set(known.split())
    assert ports | {"TopModule"} <= words(text)


def test_two_nonces_give_texts_that_differ_in_the_nonce_only():
    harness = read_harness(oracle_of(SMALL), candidate_top="Dut", port_names=frozenset())
    first, second = (harness.render(nonce)[1] for nonce in ("a" * 16, "b" * 16))
    assert first != second
    assert first.replace("a" * 16, "b" * 16) == second


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_a_stored_harness_is_read_back_as_it_was(problem, tmp_path):
    golden = problem.source("RefModule")
    oracle = oracle_of(problem.harness(), golden=golden, golden_top="RefModule", top="tb")
    ports = tuple(Port(name=name, direction=way, width=width) for way, width, name in problem.ports)
    names = frozenset(port.name for port in ports)
    harness = read_harness(oracle, candidate_top="TopModule", port_names=names)
    with closing(DiskCache(tmp_path / "cache.db")) as cache:
        store = StockStore(cache, "12.0")
        assert store.harness(oracle, "TopModule", ports) is None
        store.keep_harness(oracle, "TopModule", ports, harness)
        assert store.harness(oracle, "TopModule", ports) == harness
        assert store.harness(oracle, "TopModule", ports[1:]) is None


@given(st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_$]{0,8}", fullmatch=True), min_size=2, max_size=8))
def test_the_suffix_keeps_the_order_of_names(names):
    assert sorted(names) == [name.split("$" + NONCE)[0] for name in sorted(f"{name}${NONCE}" for name in names)]


@pytest.mark.parametrize(
    ("testbench", "fields", "said"),
    [
        ("module tb; endmodule", {}, "never instantiates Dut"),
        ("module tb; Dut d (); endmodule", {}, "prints no line"),
        ("module tb; Dut d (; endmodule", {}, "cannot be parsed"),
        ('module a; Dut d (); initial $display("Mismatches:"); endmodule module b; endmodule', {}, "root modules"),
        ('module tb; Dut d (); initial $display("Mismatches:"); endmodule', {"top": "bench"}, "no module bench"),
    ],
)
def test_a_harness_that_cannot_judge_is_the_problems_fault(testbench, fields, said):
    with pytest.raises(ProblemError, match=said):
        rendered(testbench, **fields)
