"""The benchmarks that can be scored, by name. A new one is one module with a loader and its name here."""

import difflib
from collections.abc import Callable
from pathlib import Path

from hdl_bench import cvdp, jsonl, rtllm, verilog_eval, verilog_eval_v1
from hdl_bench.scored import ScoredBenchmark
from toolchain.errors import UsageError

# name -> loader of what the user has at a path
BENCHMARKS: dict[str, Callable[[Path], ScoredBenchmark]] = {
    "procedural": jsonl.load_procedural,
    "jsonl": jsonl.load,
    "cvdp": cvdp.load,
    verilog_eval.SPEC_TO_RTL.name: verilog_eval.load_spec_to_rtl,
    verilog_eval.CODE_COMPLETE.name: verilog_eval.load_code_complete,
    verilog_eval_v1.HUMAN.name: verilog_eval_v1.load_human,
    verilog_eval_v1.MACHINE.name: verilog_eval_v1.load_machine,
    rtllm.V2.name: rtllm.load_v2,
    rtllm.V1_1.name: rtllm.load_v1_1,
}


def load_benchmark(name: str, root: Path) -> ScoredBenchmark:
    """The benchmark `name` from `root`. UsageError for an unknown name, and as its loader raises."""
    if name not in BENCHMARKS:
        [nearest] = difflib.get_close_matches(name, BENCHMARKS, n=1, cutoff=0.0)
        raise UsageError(f"unknown benchmark {name!r}; did you mean {nearest!r}? There are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name](root)
