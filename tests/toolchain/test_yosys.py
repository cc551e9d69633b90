"""Finding pyosys, and what its front end is asked for. The library itself runs in processes of the tests' own."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain.errors import ToolNotFound
from toolchain.yosys import find_pyosys

ROOT = Path(__file__).resolve().parents[2]
DESIGN = "module child (input a, output y);\nassign y = ~a;\nendmodule\n"
READ = """
import json, sys
from toolchain.yosys import SourceModule, read_netlists
netlists = read_netlists((SourceModule(file="design.sv", top=sys.argv[1], name="golden"),), output="netlists.json")
print("NETLISTS " + json.dumps(netlists))
"""


@pytest.fixture
def read(tmp_path):
    """Reads a design in a process of its own; gives the exit code and what it printed."""
    pytest.importorskip("pyosys")

    def run(text: str, top: str) -> tuple[int, str]:
        tmp_path.joinpath("design.sv").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", READ, top],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def netlist_of(output: str) -> dict:
    return json.loads(output.partition("NETLISTS ")[2].splitlines()[0])["golden"]


def test_a_missing_pyosys_is_named_with_both_remedies(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    find_pyosys.cache_clear()
    with pytest.raises(ToolNotFound) as raised:
        find_pyosys()
    find_pyosys.cache_clear()
    assert "pip install" in str(raised.value)
    assert "--formal" in str(raised.value)


@pytest.mark.tool
def test_pyosys_comes_with_its_abc():
    pytest.importorskip("pyosys")
    found = find_pyosys()
    assert found.version.startswith("0.")
    assert found.abc.is_file()


@pytest.mark.tool
def test_a_hierarchy_becomes_one_flat_netlist(read):
    code, output = read(DESIGN + "module top (input a, output y);\nchild c (.a(a), .y(y));\nendmodule\n", "top")
    netlist = netlist_of(output)
    assert code == 0
    assert [cell["type"] for cell in netlist["cells"].values() if not cell["type"].startswith("$buf")] == ["$not"]
    assert netlist["ports"]["a"]["direction"] == "input"


@pytest.mark.tool
def test_a_case_is_neither_pruned_nor_made_a_table(read):
    text = (
        "module top (input [1:0] s, output reg y);\nalways @(*) case (s)\n"
        "0: y = 0; 1: y = 1; 2: y = 1; 3: y = 0; default: y = 1'bx; endcase\nendmodule\n"
    )
    _, output = read(text, "top")
    kinds = {cell["type"] for cell in netlist_of(output)["cells"].values()}
    assert "$eqx" in kinds
    assert not any(kind.startswith("$mem") for kind in kinds)


@pytest.mark.tool
def test_comments_and_macros_for_synthesis_hide_nothing(read):
    text = (
        "module top (input a, output y);\n`ifdef SYNTHESIS\nassign y = 0;\n`else\n"
        "// synopsys translate_off\nassign y = ~a;\n// synopsys translate_on\n`endif\nendmodule\n"
    )
    _, output = read(text, "top")
    assert "$not" in {cell["type"] for cell in netlist_of(output)["cells"].values()}


@pytest.mark.tool
def test_a_source_that_yosys_refuses_ends_the_process_with_a_reason(read):
    code, output = read("module top (input a, output y);\nassign y = b;\nendmodule\n", "top")
    assert code != 0
    assert "NETLISTS" not in output
    assert "undeclared identifier" in output
