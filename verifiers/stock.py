"""Judges a candidate by a benchmark's own testbench, hardened: renamed under a fresh nonce for each run.

A pass needs the harness's one result line, no mismatch, a clean end and, where there is a golden, as many samples as
the golden itself gets. That the testbench asks for too little is not seen here: `verifiers.verify` wants our own
generated testbench as well. With a testbench alone, a design that is right for just its length and stimulus passes.
"""

import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolchain.diagnostics import Diagnostic
from toolchain.errors import InfrastructureError, UsageError
from toolchain.executor import Executor
from toolchain.icarus import Ending
from toolchain.icarus_direct import find_direct_compiler, needs_driver
from toolchain.tool import find_tool
from verifiers.cache import DiskCache
from verifiers.checker import run_check
from verifiers.declaration_order import STRICT_SINCE, declarations_first
from verifiers.errors import ProblemError, fault_of_golden
from verifiers.icarus_build import IcarusBuilder, MacroChecker, MacroJob
from verifiers.interface import ports_of
from verifiers.lexer import rename_identifier
from verifiers.simulate import Design, Failure
from verifiers.stock_batch import BatchHarness, StockBatchChecker, new_job, read_batch_harness
from verifiers.stock_checker import StockChecker, StockJob, StockScore
from verifiers.stock_rename import StockHarness, read_harness
from verifiers.stock_store import StockStore
from verifiers.types import PassRule, Port, Problem, Stage, TestbenchOracle

_NUM_CONTROLS = 1024
_ONE_BANNER = StockScore(num_mismatches=0, num_samples=1)  # what a design must get where no golden shows it


@dataclass(frozen=True, kw_only=True, slots=True)
class StockFinding:
    """A testbench's score for a candidate, and what is wrong with it: nothing for a pass."""

    score: StockScore
    faults: tuple[Diagnostic, ...]


class StockJudge:
    """Stock testbenches under one executor. The goldens' scores are kept, the most recent ones, and in `cache` all.

    Raises ToolNotFound when Icarus is not installed.
    """

    def __init__(self, *, executor: Executor, cache: DiskCache | None = None) -> None:
        self._executor = executor
        compiler = find_tool("iverilog")
        iverilog, vvp = str(compiler.path), str(find_tool("vvp").path)
        self._is_order_strict = int(compiler.version.split(".")[0]) >= STRICT_SINCE
        builder = IcarusBuilder(iverilog=iverilog, direct=find_direct_compiler())
        self._checker = StockChecker(builder=builder, vvp=vvp)
        self._batch_checker = StockBatchChecker(builder=builder, vvp=vvp)
        self._macros = MacroChecker(iverilog=iverilog)
        self._expanded = functools.lru_cache(maxsize=_NUM_CONTROLS)(self._expand)
        self._store = None if cache is None else StockStore(cache, compiler.version)
        self._known_control = functools.lru_cache(maxsize=_NUM_CONTROLS)(self._look_up_control)
        self._harness = functools.lru_cache(maxsize=_NUM_CONTROLS)(self._look_up_harness)
        self._batch_harness = functools.lru_cache(maxsize=_NUM_CONTROLS)(self._read_batch_harness)

    def judge(self, problem: Problem, design: str) -> StockFinding | Failure:
        """The finding on a design that has passed the static checks, or how its run failed, by its own fault.

        Raises ProblemError when the golden does not pass the testbench here: then no candidate can be judged.
        """
        control = self.control(problem)
        result = self._run(problem, design)
        if isinstance(result, Failure) and result.is_odd:
            # Ours or the candidate's? If it is the machine, the golden fails too, or a second try goes through.
            self.control(problem, is_fresh=True)
            result = self._run(problem, design)
        if isinstance(result, Failure):
            return result
        if control is None and problem.oracle.rule is PassRule.BANNER:
            control = _ONE_BANNER
        return StockFinding(score=result, faults=_faults(result, control))

    def judge_together(self, problem: Problem, designs: Sequence[Design]) -> tuple[StockFinding, ...] | None:
        """The findings on designs whose modules have names of their own, by one simulation of a testbench for each.

        None where the testbench cannot be copied or not all copies came to a result: `judge` them alone. Raises
        InfrastructureError as `judge` does.
        """
        control = self.control(problem)
        harness = self._batch_harness(self._expanded(problem.oracle), problem.top_module, required_ports(problem))
        if harness is None:
            return None
        scores = run_check(self._batch_checker, new_job(harness, tuple(designs), problem.oracle.files), self._executor)
        return None if scores is None else tuple(StockFinding(score=s, faults=_faults(s, control)) for s in scores)

    def control(self, problem: Problem, *, is_fresh: bool = False) -> StockScore | None:
        """The golden's own score; None where there is no golden and the harness was seen to run with an empty module.

        `is_fresh` runs it again even if it is known. Raises ProblemError when it fails.
        """
        ports = required_ports(problem)
        run = self._run_control if is_fresh else self._known_control
        try:
            return run(problem.oracle, problem.top_module, ports)
        except InfrastructureError as error:
            raise type(error)(f"problem {problem.problem_id}: {error}") from error

    def _look_up_control(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]) -> StockScore | None:
        score = self._store.score(oracle, top_module, ports) if self._store is not None else None
        if score is None:
            score = self._run_control(oracle, top_module, ports)
            if score is not None and self._store is not None:
                self._store.keep_score(oracle, top_module, ports, score)
        return score

    def _run_control(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]) -> StockScore | None:
        if oracle.golden is None:
            result = self._run_once(oracle, top_module, ports, _empty_module(top_module, ports))
        else:
            assert oracle.golden_top is not None, "an oracle with a golden names its top module"
            design = rename_identifier(oracle.golden, oracle.golden_top, top_module)
            result = self._run_once(oracle, top_module, ports, design)
        if isinstance(result, Failure) and not _is_silent(result, oracle):
            said = "; ".join(diagnostic.message for diagnostic in result.diagnostics[:3])
            what = "an empty module" if oracle.golden is None else "the golden"
            raise fault_of_golden(result.ending)(
                f"{what} fails in the testbench at {result.stage} ({result.ending}): {said}. Repair it."
            )
        if oracle.golden is None or isinstance(result, Failure):
            return None
        if result.num_mismatches or not result.num_samples:
            raise ProblemError(
                f"the golden fails in the testbench: {result.num_mismatches} mismatches in {result.num_samples} "
                "samples. Repair it."
            )
        return result

    def _expand(self, oracle: TestbenchOracle) -> TestbenchOracle:
        """The oracle with the macros of its testbench expanded (no run needs the preprocessor then), and declared in
        the order that the installed compiler wants.

        Macros stay where the golden, compiled beside it, has some as well, and where the preprocessor complains.
        """
        text, golden = oracle.testbench, oracle.golden
        if needs_driver(text) and not (golden is not None and needs_driver(golden)):
            expanded = self._expand_macros(oracle)
            text = text if expanded is None else expanded
        return replace(oracle, testbench=declarations_first(text) if self._is_order_strict else text)

    def _expand_macros(self, oracle: TestbenchOracle) -> str | None:
        text = self._store.expanded(oracle) if self._store is not None else None
        if text is None:
            text = run_check(self._macros, MacroJob(text=oracle.testbench, files=oracle.files), self._executor)
            if text is not None and self._store is not None:
                self._store.keep_expanded(oracle, text)
        return text

    def _look_up_harness(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]) -> StockHarness:
        harness = self._store.harness(oracle, top_module, ports) if self._store is not None else None
        if harness is None:
            names = frozenset(port.name for port in ports)
            harness = read_harness(oracle, candidate_top=top_module, port_names=names)
            if self._store is not None:
                self._store.keep_harness(oracle, top_module, ports, harness)
        return harness

    def _read_batch_harness(
        self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]
    ) -> BatchHarness | None:
        if oracle.rule is not PassRule.MISMATCH_COUNT:
            return None  # a banner is judged by all that was printed
        return read_batch_harness(self._harness(oracle, top_module, ports), candidate_top=top_module)

    def _run(self, problem: Problem, design: str) -> StockScore | Failure:
        return self._run_once(problem.oracle, problem.top_module, required_ports(problem), design)

    def _run_once(
        self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...], design: str
    ) -> StockScore | Failure:
        nonce = secrets.token_hex(8)
        top, text = self._harness(self._expanded(oracle), top_module, ports).render(nonce)
        job = StockJob(harness=text, top=top, nonce=nonce, rule=oracle.rule, design=design, files=oracle.files)
        result = run_check(self._checker, job, self._executor)
        return _without_nonce(result, nonce) if isinstance(result, Failure) else result


def required_ports(problem: Problem) -> tuple[Port, ...]:
    """The ports that a candidate must have: the problem's, or else the golden's. UsageError where there is neither."""
    oracle = problem.oracle
    if problem.ports is not None:
        return problem.ports
    if oracle.golden is None or oracle.golden_top is None:
        raise UsageError(f"problem {problem.problem_id} has neither ports nor a golden; give one of them.")
    return _golden_ports(oracle.golden, oracle.golden_top)


@functools.lru_cache(maxsize=_NUM_CONTROLS)
def _golden_ports(golden: str, golden_top: str) -> tuple[Port, ...]:
    return ports_of(golden, golden_top)


def _is_silent(failure: Failure, oracle: TestbenchOracle) -> bool:
    """Whether all that is wrong is that an empty module got no banner: a testbench need not say more of a failure."""
    is_clean = (failure.stage, failure.ending) == (Stage.SIMULATE, Ending.CLEAN)
    return is_clean and oracle.golden is None and oracle.rule is PassRule.BANNER


def _faults(score: StockScore, control: StockScore | None) -> tuple[Diagnostic, ...]:
    messages = []
    if score.num_mismatches:
        messages.append(f"the stock testbench counts {score.num_mismatches} mismatches in {score.num_samples} samples")
    if control is not None and score.num_samples != control.num_samples:
        messages.append(f"the stock testbench takes {score.num_samples} samples, {control.num_samples} of the golden")
    if score.num_samples == 0:
        messages.append("the stock testbench takes no sample")
    return tuple(Diagnostic(message=message, code="stock_testbench") for message in messages)


def _without_nonce(failure: Failure, nonce: str) -> Failure:
    """The failure with the harness's own names in its messages: equal runs have equal verdicts."""
    diagnostics = tuple(
        replace(diagnostic, message=diagnostic.message.replace(f"${nonce}", "").replace(f"{nonce} ", ""))
        for diagnostic in failure.diagnostics
    )
    return replace(failure, diagnostics=diagnostics)


def _empty_module(top_module: str, ports: tuple[Port, ...]) -> str:
    header = ", ".join(f"{port.direction} [{port.width - 1}:0] {port.name}" for port in ports)
    return f"module {top_module} ({header});\nendmodule\n"
