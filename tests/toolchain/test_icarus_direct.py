"""Calling the compiler without its driver: the same image, or the driver."""

import subprocess

import pytest

from hdl_bench.procedural.problems import make_problems
from toolchain import icarus_direct
from toolchain.icarus import compile_argv, simulate_argv
from toolchain.icarus_direct import (
    CONFIG_FILE,
    SOURCE_FILE,
    DirectCompiler,
    find_direct_compiler,
    is_plain,
    joined,
    needs_driver,
)
from toolchain.tool import find_tool
from verifiers.golden import harness_of
from verifiers.stimulus import draw_stimulus
from verifiers.testbench import build_testbench, row_file_name


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("module m; endmodule", False),
        ("`timescale 1ns/1ps\n`default_nettype none\n`resetall\nmodule m; endmodule", False),
        ("`define N 3\nmodule m; endmodule", True),
        ("`ifdef X\n`endif", True),
        ("// a macro: `N", True),  # rather too often than too seldom
        ("`include \"x\"", True),
        ("`timescale_of_mine", True),
        ("a ` b", True),
    ],
)  # fmt: skip
def test_a_source_needs_the_driver_when_its_preprocessor_has_work(text, answer):
    assert needs_driver(text) is answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("assign y = a;", True),
        ("assign y = $signed(a) + $unsigned(b);", True),
        ("assign y = $clog2(a);", False),
        ("initial begin $display(1); $finish; end", True),
        ("// $sqrt", False),
    ],
)
def test_a_source_is_plain_when_it_calls_no_function_of_a_module(text, answer):
    assert is_plain(text) is answer


def test_the_sources_make_one_text_with_their_own_lines():
    assert joined({"a.v": "x\n", "b.v": "y"}) == '`line 1 "a.v" 0\nx\n\n`line 1 "b.v" 0\ny\n'


def test_the_configuration_is_the_drivers_but_for_root_output_and_modules():
    config = "root:earl_probe_top\nmodule:/b/system.vpi\nmodule:/b/v2005_math.vpi\nout:earl_probe_output\niwidth:32"
    compiler = DirectCompiler(ivl="/b/ivl", base="/b", config=config)
    text = compiler.config_text(tops=("tb",), output="o", is_plain=False)
    assert text == "root:tb\nmodule:/b/system.vpi\nmodule:/b/v2005_math.vpi\nout:o\niwidth:32\n"
    assert compiler.config_text(tops=("a", "b"), output="o", is_plain=True).startswith("root:a\nroot:b\n")
    assert "math" not in compiler.config_text(tops=("tb",), output="o", is_plain=True)


@pytest.mark.tool
def test_a_direct_call_that_gives_another_image_is_not_used(monkeypatch):
    record = icarus_direct._record

    def wrong_width(*arguments):
        compiler = record(*arguments)
        assert "iwidth:32" in compiler.config
        config = compiler.config.replace("iwidth:32", "iwidth:16")
        return DirectCompiler(ivl=compiler.ivl, base=compiler.base, config=config)

    assert find_direct_compiler() is not None, "the direct way works with this version of Icarus"
    monkeypatch.setattr(icarus_direct, "_record", wrong_width)
    assert find_direct_compiler.__wrapped__() is None


@pytest.mark.tool
@pytest.mark.slow
def test_traces_of_procedural_goldens_are_the_drivers(tmp_path):
    compiler = find_direct_compiler()
    iverilog, vvp = (str(find_tool(name).path) for name in ("iverilog", "vvp"))
    for problem in make_problems(families=None, levels=(2, 4), split="train", num_problems=40, seed=11):
        harness = harness_of(problem)
        stimulus = draw_stimulus(harness.ports, harness.protocol, 1, literals=harness.literals)
        testbench = build_testbench((problem.top_module,), harness.ports, harness.protocol)
        golden = problem.oracle.golden
        sources = {"testbench.v": testbench.text, "design.v": golden}
        assert not needs_driver(golden)
        config = compiler.config_text(tops=(testbench.top,), output="direct", is_plain=is_plain(golden))
        texts = {SOURCE_FILE: joined(sources), CONFIG_FILE: config, row_file_name(0): stimulus.row_file}
        for name, text in (sources | texts).items():
            tmp_path.joinpath(name).write_text(text)
        subprocess.run(compiler.argv(), cwd=tmp_path, check=True, capture_output=True)
        argv = compile_argv(iverilog, sources=tuple(sources), tops=(testbench.top,), output="driver")
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
        said = [
            subprocess.run(simulate_argv(vvp, image=image), cwd=tmp_path, check=True, capture_output=True).stdout
            for image in ("direct", "driver")
        ]
        assert said[0] == said[1], problem.problem_id
        assert said[0].endswith(b" end %d %d\n" % (len(stimulus.rows), said[0].count(b"\n") - 1))
