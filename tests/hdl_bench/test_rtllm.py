"""The loader of RTLLM: what it reads off the files of a design, and what it says of a damaged checkout."""

import shutil

import pytest
from rtllm_checkout import DESIGNS, design_of, write_v1_1, write_v2

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.compatible import Answer
from hdl_bench.testbench_names import names_of
from toolchain.errors import UsageError
from verifiers.types import PassRule, Port, TestbenchOracle


@pytest.fixture
def root(tmp_path):
    return write_v2(tmp_path / "RTLLM")


def test_both_layouts_are_read_in_the_order_of_the_folders(root, tmp_path):
    by_path = sorted(DESIGNS, key=lambda design: f"{design.folder}/{design.name}")
    assert list(load_benchmark("rtllm-v2", root).problems) == [design.name for design in by_path]
    flat = load_benchmark("rtllm-v1.1", write_v1_1(tmp_path / "flat"))
    assert list(flat.problems) == sorted(design.name for design in DESIGNS)
    assert flat.problems["toggle"].source == "rtllm-v1.1"


def test_a_design_has_its_testbench_golden_and_data(root):
    problem, design = load_benchmark("rtllm-v2", root).problems["squares_rom"], design_of("squares_rom")
    assert problem.family == "Memory"
    assert problem.top_module == "square_rom"
    assert problem.prompt.startswith("Please write this design.")
    assert problem.ports == (
        Port(name="addr", direction="input", width=3),
        Port(name="data", direction="output", width=6),
    )
    assert problem.oracle == TestbenchOracle(
        testbench=design.testbench,
        rule=PassRule.BANNER,
        top="main",
        golden=design.source("verified_squares"),
        golden_top="verified_squares",
        files=(("reference.dat", design.files["reference.dat"]),),
    )


def test_what_the_files_show_to_be_amiss_is_an_erratum(root):
    errata = load_benchmark("rtllm-v2", root).errata
    assert {name: erratum.kinds for name, erratum in errata.items()} == {
        "toggle": ("reads_internals",),
        "squares_rom": ("misleading_prompt",),
    }
    assert errata["toggle"].note == "the testbench reads DUT.state"
    assert "squares_table" in errata["squares_rom"].note


def test_a_name_in_a_comment_is_not_read():
    names = names_of("module tb; a DUT(); /* DUT.x */ initial $display(DUT.y, tb.z); // DUT.w\nendmodule")
    assert names.paths_into("a") == ("DUT.y",)
    assert names.undefined == ("a",)
    assert names.roots == ("tb",)


def test_the_golden_may_have_modules_of_its_own(root):
    path = root / "Arithmetic/Adder/adder_4bit/verified_adder_4bit.v"
    path.write_text("module half(input a, b, output s); assign s = a ^ b; endmodule\n" + path.read_text())
    unused = load_benchmark("rtllm-v2", root).problems["adder_4bit"]
    assert unused.oracle.golden_top == "verified_adder_4bit"
    path.write_text(
        "module leaf(output [4:0] y); assign y = 0; endmodule\nmodule top_of_all(input [3:0] a, input [3:0] b,"
        " output [4:0] sum); leaf c(sum); endmodule\n"
    )
    assert load_benchmark("rtllm-v2", root).problems["adder_4bit"].oracle.golden_top == "top_of_all"


def test_a_testbench_may_have_the_golden_beside_the_module_under_test(root):
    path = root / "Arithmetic/Adder/adder_4bit/testbench.v"
    path.write_text(path.read_text().replace("adder_4bit uut", "verified_adder_4bit ref(a, b, );\n  adder_4bit uut"))
    assert load_benchmark("rtllm-v2", root).problems["adder_4bit"].top_module == "adder_4bit"


def test_a_golden_with_an_inout_port_is_left_to_the_testbench(root):
    path = root / "Arithmetic/Adder/adder_4bit/verified_adder_4bit.v"
    path.write_text(path.read_text().replace("output [4:0] sum", "inout [4:0] sum"))
    oracle = load_benchmark("rtllm-v2", root).problems["adder_4bit"].oracle
    assert (oracle.golden, oracle.golden_top) == (None, None)


def test_upstream_takes_a_file_as_it_is_and_the_code_out_of_an_answer(root):
    rule = load_benchmark("rtllm-v2", root).compatible
    assert rule is not None
    answer = "Here:\n```\nmodule toggle; endmodule\n```\n"
    job = rule.job(Answer(problem_id="toggle", completion=answer))
    assert job.candidate == "module toggle; endmodule\n"
    assert rule.job(Answer(problem_id="toggle", completion=answer, is_extracted=True)).candidate == answer
    assert rule.job(Answer(problem_id="toggle", completion="no idea")).candidate == "no idea"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: shutil.rmtree(root), "is not a folder"),
        (lambda root: [p.unlink() for p in root.rglob("design_description.txt")], r"holds no \*/\*/\*/design_desc"),
        (lambda root: (root / "Control/Counter/counter_6/testbench.v").unlink(), r"counter_6 lacks testbench\.v;"),
        (lambda root: next(root.rglob("verified_toggle.v")).unlink(), r"toggle lacks verified_\*\.v;"),
        (lambda root: next(root.rglob("verified_toggle.v")).write_text(" "), r"verified_toggle\.v is empty"),
        (lambda root: next(root.rglob("verified_toggle.v")).write_text("reg x;"), "without a root module"),
        (
            lambda root: next(root.rglob("verified_toggle.v")).write_text("module a(input [W:0] b); endmodule"),
            "toggle: ",
        ),
        (lambda root: next(root.rglob("testbench.v")).write_text("module tb; endmodule"), "instantiates no module"),
        (lambda root: next(root.rglob("reference.dat")).write_bytes(b"\xff"), r"reference\.dat is no UTF-8"),
        (lambda root: shutil.copytree(root / "Control/Counter/counter_6", root / "Memory/X/counter_6"), "there twice"),
    ],
)
def test_a_wrong_or_damaged_checkout_says_what_is_missing(root, damage, said):
    damage(root)
    with pytest.raises(UsageError, match=said):
        load_benchmark("rtllm-v2", root)


def test_a_checkout_of_the_other_version_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"its layout is that of rtllm-v2"):
        load_benchmark("rtllm-v1.1", write_v2(tmp_path / "nested"))
    with pytest.raises(UsageError, match=r"its layout is that of rtllm-v1\.1"):
        load_benchmark("rtllm-v2", write_v1_1(tmp_path / "flat"))
