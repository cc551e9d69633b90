"""A mix of right, wrong, broken and hostile designs over procedural problems, drawn from a seed, for scripts here."""

import random

from hdl_bench.procedural.problems import make_problems
from verifiers.mutate import mutants_of
from verifiers.types import Problem

_TRAPS = {  # put in front of the last endmodule
    "hangs in zero time": "wire loop;\n assign #0 loop = ~(loop === 1'b1);\n",
    "hangs in a loop": "integer forever_; initial while (1) forever_ = 1;\n",
    "prints": 'initial $display("Mismatches: 0 in 100 samples");\n',
    "ends early": "initial $finish;\n",
    "depends on time": "reg late_ = 0; initial #5000 late_ = 1;\n",
    "is too large": "generate for (genvar i = 0; i < 100000000; i = i + 1) begin : g wire w; end endgenerate\n",
}


def draw_designs(num_designs: int, seed: int, *, num_traps: int = 3) -> list[tuple[Problem, str]]:
    """`num_designs` different pairs of problem and completion: per problem its golden, mutants and a syntax error.

    `num_traps` of them hang, print or swell; those that hang cost seconds each.
    """
    rng = random.Random(f"design mix {seed}")
    problems = make_problems(
        families=None, levels=(1, 2, 3, 4, 5), split="train", num_problems=-(-num_designs // 3), seed=seed
    )
    designs = []
    for problem in problems:
        golden = problem.oracle.golden
        mutants = mutants_of(golden, problem.top_module, problem.ports, seed=seed, limit=2)
        designs += [(problem, golden), *((problem, mutant.text) for mutant in mutants)]
        designs.append((problem, golden.replace(";", "", 1)))
    rng.shuffle(designs)
    traps = [_trapped(problems[index % len(problems)], trap) for index, trap in enumerate(sorted(_TRAPS))]
    chosen = list(dict.fromkeys([*traps[:num_traps], *designs]))[:num_designs]
    assert len(chosen) == num_designs, f"only {len(chosen)} different designs were drawn"
    rng.shuffle(chosen)
    return chosen


def _trapped(problem: Problem, trap: str) -> tuple[Problem, str]:
    head, end, tail = problem.oracle.golden.rpartition("endmodule")
    return problem, f"{head}{_TRAPS[trap]}{end}{tail}"
