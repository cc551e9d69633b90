"""A benchmark's self-check, on a checkout of our own: a weak testbench is found, a sound one has no fault."""

import json

import pytest
from stock_checkout import PROBLEMS, write_checkout

from earl.show_bench import bench_document, bench_summary, render_bench
from hdl_bench.bench_check import check_benchmark
from hdl_bench.benchmarks import load_benchmark
from hdl_bench.score import Upstream
from verifiers.farm import Farm
from verifiers.oracle_gate import OracleGate
from verifiers.simulate import local_executor


def checks_of(root, names, num_mutants=6):
    benchmark = load_benchmark("verilog-eval-v2-spec", root)
    problems = [benchmark.problems[name] for name in names]
    with Farm(num_workers=1) as farm, OracleGate(farm=farm, prover=None, num_mutants=num_mutants) as gate:
        upstream = Upstream([local_executor()])
        return list(check_benchmark(benchmark, problems, gate=gate, farm=farm, upstream=upstream))


@pytest.mark.tool
@pytest.mark.slow
def test_a_sound_problem_a_blind_testbench_and_a_golden_that_fails(tmp_path):
    root = write_checkout(tmp_path)
    wire, adder, broken = (problem.name for problem in PROBLEMS[:3])
    folder = root / "dataset_spec-to-rtl"
    # The adder's testbench counts no error.
    blind = (folder / f"{adder}_test.sv").read_text()
    (folder / f"{adder}_test.sv").write_text(blind.replace("stats1.errors++", "stats1.errors = stats1.errors"))
    golden = folder / f"{broken}_ref.sv"
    golden.write_text(golden.read_text().replace("endmodule", "  initial $this_task_is_nowhere;\nendmodule"))
    found = dict(zip((wire, adder, broken), checks_of(root, (wire, adder, broken)), strict=True))

    documents = {name: bench_document(check) for name, check in found.items()}
    json.dumps(documents, allow_nan=False)
    assert (documents[wire]["golden"], documents[wire]["sound"]) == ("passed", True)
    assert documents[wire]["empty"] != "passed"
    assert documents[wire]["cheats_passed"] == 0
    assert documents[wire]["upstream"]["golden"] == {"passed": True, "letter": "."}
    assert documents[wire]["upstream"]["cheats"]["a module that prints pass lines and finishes"] == "."
    assert found[wire].faults == ()

    blinded = documents[adder]
    assert blinded["mutation_score"] == 1.0
    assert blinded["num_mutants"] >= 4
    assert blinded["testbench_alone"]["mutation_score"] == 0.0
    assert blinded["upstream"]["empty"]["passed"]
    assert "the empty module passes by upstream's rule" in blinded["faults"]

    assert documents[broken]["golden"] != "passed"
    assert documents[broken]["empty"] is not None
    assert not documents[broken]["sound"]
    summary = bench_summary([*found.values()])
    assert (summary["num_problems"], summary["num_sound"], summary["num_goldens_passing"]) == (3, 2, 2)
    assert render_bench("b", [*found.values()]) is not None
