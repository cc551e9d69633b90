"""Forged answers on RTLLM and on VerilogEval v1: what their own rules are deceived by, and ours is not."""

import pytest
from rtllm_checkout import design_of, write_v2
from v1_checkout import V1_PROBLEMS, solution_of, write_v1

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.compatible import PASS, Answer
from toolchain.tool import find_tool
from verifiers.checker import run_check
from verifiers.lexer import rename_identifier
from verifiers.seeds import EVAL_SEEDS
from verifiers.simulate import local_executor
from verifiers.verify import Verifier

BANNER = '$display("===========Your Design Passed===========");'
LINE = '$display("Mismatches: 0 in 100 samples");'
ADDER, COUNTER, WAVE, LARGER = (
    f"module {design_of(name).module}({design_of(name).ports});\n"
    for name in ("adder_4bit", "counter_6", "wave", "larger")
)
ZERO = "  assign sum = 0;\n"

# design, answer, whether upstream's rule is deceived
FORGED_RTLLM = {
    "prints_the_banner": ("adder_4bit", f"{ADDER}{ZERO}  initial {BANNER}\nendmodule", True),
    "prints_when_it_ends": ("adder_4bit", f"{ADDER}{ZERO}  final {BANNER}\nendmodule", True),
    "ends_at_once": ("adder_4bit", f"{ADDER}{ZERO}  initial begin {BANNER} $finish; end\nendmodule", True),
    "ends_before_the_verdict": (
        "adder_4bit",
        f"{ADDER}{ZERO}  initial #499 begin {BANNER} $finish; end\nendmodule",
        True,
    ),
    "monitors": ("adder_4bit", f'{ADDER}{ZERO}  initial $monitor("pass");\nendmodule', True),
    "informs": ("adder_4bit", f'{ADDER}{ZERO}  initial $info("Passed");\nendmodule', True),
    "forces_the_count": ("adder_4bit", f"{ADDER}{ZERO}  initial force testbench.error = 0;\nendmodule", True),
    "writes_the_count": ("adder_4bit", f"{ADDER}{ZERO}  always @(a) testbench.error = -1;\nendmodule", True),
    "instantiates_the_golden": ("adder_4bit", f"{ADDER}  verified_adder_4bit g(a, b, sum);\nendmodule", False),
    "has_a_testbench_of_its_own": (
        "adder_4bit",
        f"{ADDER}{ZERO}endmodule\nmodule second; initial begin {BANNER} $finish; end endmodule",
        True,
    ),
    "swallows_the_testbench": (
        "adder_4bit",
        f"{ADDER}{ZERO}endmodule\nmodule testbench; initial begin {BANNER} $finish; end endmodule\n/*",
        True,
    ),
    "reads_the_data": (
        "squares_rom",
        "module square_rom(input [2:0] addr, output reg [5:0] data);\n  reg [5:0] m [0:7];\n"
        '  initial $readmemh("reference.dat", m);\n  always @(*) data = m[addr];\nendmodule',
        True,
    ),
    "empty": ("larger", f"{LARGER}endmodule", True),
    "unknown": ("larger", f"{LARGER}  assign y = 1'bx;\nendmodule", True),
    "always_larger": ("larger", f"{LARGER}  assign y = 1;\nendmodule", True),
    "never_moves": ("wave", f"{WAVE}  initial wave = 0;\nendmodule", True),
    "right_for_the_usual_run": (
        "counter_6",
        f"{COUNTER}  reg [5:0] n = 0;\n  always @(posedge clk or negedge rst_n)\n    if (!rst_n) out <= 0;\n"
        "    else begin if (n < 40) n <= n + 1; out <= n == 40 ? 0 : out == 5 ? 0 : out + 1; end\nendmodule",
        True,
    ),
    "holds_up_the_end": ("counter_6", f"{COUNTER}  always @(posedge clk) out <= 0;\n  always #0 ;\nendmodule", False),
}

HEADER, BODY = V1_PROBLEMS[0].header("top_module"), "  assign sum = 0;\n"
FORGED_V1 = {
    "prints_the_line": (f"{BODY}  initial {LINE}\nendmodule", True),
    "prints_when_it_ends": (f"{BODY}  final {LINE}\nendmodule", True),
    "ends_at_once": (f"{BODY}  initial begin {LINE} $finish; end\nendmodule", True),
    "ends_before_the_first_sample": (f"{BODY}  initial $finish;\nendmodule", True),
    "reads_the_golden": ("  assign sum = tb.good1.sum;\nendmodule", True),
    "instantiates_the_golden": ("  reference_module g(.a(a), .b(b), .sum(sum));\nendmodule", True),
    "forces_the_match": (f"{BODY}  initial force tb.tb_match = 1;\nendmodule", True),
    "right_for_the_usual_inputs": ("  assign sum = a[3] ? 0 : a + b;\nendmodule", True),
    "unknown": ("  assign sum = 5'bx;\nendmodule", False),
}


@pytest.fixture(scope="module")
def rtllm(tmp_path_factory):
    return load_benchmark("rtllm-v2", write_v2(tmp_path_factory.mktemp("rtllm") / "RTLLM"))


@pytest.fixture(scope="module")
def v1(tmp_path_factory):
    return load_benchmark("verilog-eval-v1-human", write_v1(tmp_path_factory.mktemp("v1") / "verilog-eval"))


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


def passes_upstream(benchmark, problem_id: str, completion: str) -> bool:
    rule = benchmark.compatible
    checker = rule.checker(*(str(find_tool(name).path) for name in ("iverilog", "vvp")))
    return run_check(checker, rule.job(Answer(problem_id=problem_id, completion=completion)), local_executor()) == PASS


def passes_ours(benchmark, verifier, problem_id: str, completion: str) -> bool:
    verdict = verifier.judge(
        benchmark.problems[problem_id], benchmark.prepare(problem_id, completion), EVAL_SEEDS
    ).verdict
    assert verdict.is_scored, verdict
    return verdict.passed


@pytest.mark.tool
@pytest.mark.parametrize("name", FORGED_RTLLM)
def test_a_forged_answer_passes_rtllms_rule_at_most(name, rtllm, verifier):
    design, answer, is_upstream_deceived = FORGED_RTLLM[name]
    assert not passes_ours(rtllm, verifier, design, answer)
    if name != "holds_up_the_end":  # 8 s
        assert passes_upstream(rtllm, design, answer) == is_upstream_deceived


@pytest.mark.tool
@pytest.mark.parametrize("name", FORGED_V1)
def test_a_forged_answer_passes_verilog_evals_rule_at_most(name, v1, verifier):
    answer, is_upstream_deceived = FORGED_V1[name]
    assert not passes_ours(v1, verifier, "adder", answer)
    assert passes_upstream(v1, "adder", answer) == is_upstream_deceived


@pytest.mark.tool
@pytest.mark.parametrize("name", ["adder_4bit", "counter_6", "squares_rom", "toggle", "larger", "wave"])
def test_the_golden_of_each_sound_design_passes_both_rules(name, rtllm, verifier):
    golden = rtllm.problems[name].oracle
    text = rename_identifier(golden.golden, golden.golden_top, rtllm.problems[name].top_module)
    assert passes_ours(rtllm, verifier, name, text)
    assert passes_upstream(rtllm, name, text)


@pytest.mark.tool
@pytest.mark.parametrize("problem", V1_PROBLEMS, ids=lambda problem: problem.name)
def test_the_solution_of_each_v1_problem_passes_both_rules(problem, v1, verifier):
    name = problem.name.split("_", 1)[1]
    assert passes_ours(v1, verifier, name, solution_of(problem))
    assert passes_upstream(v1, name, solution_of(problem))


@pytest.mark.tool
def test_an_output_that_the_golden_never_drives_may_be_driven(rtllm, verifier):
    text = design_of("wave").source().replace("initial wave = 0;", "initial wave = 0;\n  assign spare = wave;")
    assert passes_ours(rtllm, verifier, "wave", text)


@pytest.mark.tool
def test_a_golden_that_fails_blames_no_candidate(rtllm, verifier):
    text = design_of("inverse").source()
    verdict = verifier.judge(rtllm.problems["inverse"], text, EVAL_SEEDS).verdict
    assert [diagnostic.code for diagnostic in verdict.diagnostics] == ["ProblemError"]
