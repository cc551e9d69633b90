"""Declarations before their use: what moves, what stays, and that the testbench's score is the same."""

import pytest
from stock_checkout import PROBLEMS

from verifiers.declaration_order import declarations_first
from verifiers.simulate import local_executor
from verifiers.stock import StockJudge
from verifiers.types import PassRule, Problem, TestbenchOracle


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def test_late_declarations_move_before_the_first_other_member_in_their_order():
    text = (
        "module tb;\n  reg clk;\n  initial $dumpvars(1, bad);\n  wire good;\n  dut d(clk, good);\n  wire bad = ~good;\n"
        "endmodule\n"
    )
    assert _on_one_line(declarations_first(text)) == (
        "module tb; reg clk; wire good; wire bad = ~good; initial $dumpvars(1, bad); dut d(clk, good); endmodule"
    )


def test_each_module_keeps_its_own_declarations():
    text = "module a; initial x = 1; reg x; endmodule\nmodule b; initial y = 1; reg y; endmodule\n"
    assert _on_one_line(declarations_first(text)) == (
        "module a; reg x; initial x = 1; endmodule module b; reg y; initial y = 1; endmodule"
    )


@pytest.mark.parametrize(
    "text",
    [
        "module a; reg x; initial x = 1; endmodule\n",  # nothing is late
        "module a; initial x = 1;\n`ifdef N\nreg x;\n`endif\nendmodule\n",  # a directive has its place
        "module a; initial x = ; reg x; endmodule\n",  # no Verilog
        "module a; initial begin reg y; y = 1; end endmodule\n",  # a block's own declaration
        "",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert declarations_first(text) == text


def test_directives_at_the_top_do_not_keep_declarations_from_moving():
    text = "`timescale 1ps/1ps\nmodule a; initial x = 1; reg x; endmodule\n"
    assert declarations_first(text).startswith("`timescale 1ps/1ps\nmodule a; reg x;")


@pytest.mark.tool
@pytest.mark.parametrize("layout", PROBLEMS, ids=lambda layout: layout.name)
def test_a_golden_has_the_same_score_in_both_orders(layout):
    scores = []
    judge = StockJudge(executor=local_executor())
    for text in (layout.harness(), declarations_first(layout.harness())):
        oracle = TestbenchOracle(
            testbench=text,
            rule=PassRule.MISMATCH_COUNT,
            top="tb",
            golden=layout.source("RefModule"),
            golden_top="RefModule",
        )
        problem = Problem(problem_id="p", source="", prompt="", top_module="TopModule", ports=None, oracle=oracle)
        scores.append(judge.control(problem))
    assert scores[0] == scores[1]
