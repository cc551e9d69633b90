"""Every problem proves itself before use: the golden passes, repeats itself and says enough; cheats do not pass.

What fails here is quarantined: it could reward nothing, or anything. Mutants of the golden are not tried here.
"""

from dataclasses import dataclass

from toolchain.errors import EarlError
from verifiers.golden import GoldenRun, Harness, harness_of
from verifiers.infer import constant_outputs
from verifiers.lexer import lex
from verifiers.seeds import group_seed
from verifiers.trace import has_known_bit
from verifiers.types import Candidate, Outcome, Port, Problem, Verdict
from verifiers.verify import Verifier

NUM_SEEDS = 3
MIN_KNOWN_FRACTION = 0.2  # of an output's scored rows


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemCheck:
    """Whether a problem may be used, and each reason why not. `num_samples` is the golden's, over all seeds tried."""

    problem_id: str
    reasons: tuple[str, ...]
    num_samples: int = 0

    @property
    def is_sound(self) -> bool:
        return not self.reasons


def check_problem(problem: Problem, verifier: Verifier) -> ProblemCheck:
    """Try a problem's golden and the cheapest cheats. Never raises for a bad problem: that is a reason."""
    try:
        return _check(problem, verifier)
    except EarlError as error:
        return ProblemCheck(problem_id=problem.problem_id, reasons=(str(error),))


def _check(problem: Problem, verifier: Verifier) -> ProblemCheck:
    seeds = tuple(group_seed(0, problem.problem_id, epoch) for epoch in range(NUM_SEEDS))
    golden = Candidate(text=renamed(problem.oracle.golden, problem.oracle.golden_top, problem.top_module))
    verdicts = [verifier.verify(problem, golden, (seed,)) for seed in seeds]
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        return ProblemCheck(problem_id=problem.problem_id, reasons=(f"the golden fails: {_why(failed[0])}",))
    runs = [verifier.goldens.run(problem, seed) for seed in seeds]
    harness = harness_of(problem)
    constants = constant_outputs(problem.oracle.golden, problem.oracle.golden_top)
    reasons = [
        f"the golden's outputs differ between two runs under seed {seed}"
        for seed, run in zip(seeds, runs, strict=True)
        if verifier.goldens.run(problem, seed, is_fresh=True).trace != run.trace
    ]
    for port in harness.ports:
        if port.direction == "output":
            reasons += _check_output(port.name, runs, is_constant=port.name in constants)
    reasons += _check_cheats(problem, verifier, harness, seeds, constants)
    num_samples = sum(verdict.num_samples for verdict in verdicts)
    return ProblemCheck(problem_id=problem.problem_id, reasons=tuple(reasons), num_samples=num_samples)


def _check_output(name: str, runs: list[GoldenRun], *, is_constant: bool) -> list[str]:
    scored = [value for run in runs for value in run.trace.values[name][run.stimulus.first_scored_row :]]
    known = [value for value in scored if has_known_bit(value)]
    fraction = len(known) / len(scored)
    if fraction < MIN_KNOWN_FRACTION:
        return [f"output {name} is known in {fraction:.0%} of the samples only (at least {MIN_KNOWN_FRACTION:.0%})"]
    if len(set(known)) == 1 and not is_constant:
        return [f"output {name} never changes under {len(runs)} seeds, though it is no constant: drive it further"]
    return []


def _check_cheats(
    problem: Problem, verifier: Verifier, harness: Harness, seeds: tuple[int, ...], constants: frozenset[str]
) -> list[str]:
    """The cheats that pass. A constant may be right where every output of the golden is one."""
    outputs = {port.name for port in harness.ports if port.direction == "output"}
    cheats = {"the empty module": None}
    if not outputs <= constants:
        cheats |= {"the constant 0": "0", "the constant 1": "1"}
    reasons = []
    for name, bit in cheats.items():
        candidate = Candidate(text=constant_module(problem.top_module, harness.ports, bit))
        verdict = verifier.verify(problem, candidate, seeds)
        if verdict.passed:
            reasons.append(f"{name} passes")
        elif verdict.outcome is not Outcome.MISMATCH:
            reasons.append(f"{name} could not be tried: {_why(verdict)}")
    return reasons


def constant_module(top_module: str, ports: tuple[Port, ...], bit: str | None) -> str:
    """A module with these ports and every output bit tied to `bit` ("0" or "1"); with None, nothing drives them."""
    header = ", ".join(f"{port.direction} [{port.width - 1}:0] {port.name}" for port in ports)
    driven = [port for port in ports if port.direction == "output" and bit is not None]
    body = "".join(f"  assign {port.name} = {{{port.width}{{1'b{bit}}}}};\n" for port in driven)
    return f"module {top_module} ({header});\n{body}endmodule\n"


def renamed(source: str, old: str, new: str) -> str:
    """`source` with the identifier `old` replaced by `new` wherever it stands as one."""
    pieces = (source[lexeme.start : lexeme.end] for lexeme in lex(source))
    return source if old == new else "".join(new if piece == old else piece for piece in pieces)


def _why(verdict: Verdict) -> str:
    said = [diagnostic.message for diagnostic in verdict.diagnostics[:2]]
    if verdict.first_mismatch is not None:
        first = verdict.first_mismatch
        said.append(f"row {first.row}, output {first.output}: expected {first.expected}, got {first.got}")
    return f"{verdict.outcome} under seed {verdict.seed}: {'; '.join(said)}"
