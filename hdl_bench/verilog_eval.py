"""VerilogEval v2 from a user's checkout: both tasks as problems with stock testbench and golden. Ships no data.

A problem is what has a `ProbNNN_name_prompt.txt`; other files are ignored. The prompt is the task's own text: examples
and instructions around it are a matter of how a model is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hdl_bench.checkout import missing_files, read_text
from hdl_bench.compatible import Answer, CompatibleRule
from hdl_bench.compatible_verilog_eval import (
    LETTERS,
    VerilogEvalChecker,
    VerilogEvalJob,
    extract_code_complete,
    extract_spec_to_rtl,
    rate_in_whole_per_cent,
)
from hdl_bench.errata import StimulusHint, content_hash, find_erratum, find_hint
from hdl_bench.scored import ScoredBenchmark
from toolchain.errors import UsageError
from verifiers.extract import answer_text, extract
from verifiers.infer import infer_protocol
from verifiers.interface import ports_of
from verifiers.stimulus_habits import one_hot_inputs
from verifiers.types import PassRule, Problem, Protocol, TestbenchOracle

TOP_MODULE, GOLDEN_TOP, TESTBENCH_TOP = "TopModule", "RefModule", "tb"
_PROMPT_SUFFIX = "_prompt.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One of the benchmark's two ways to ask. `has_interface`: a module header is given, to be completed."""

    name: str
    folder: str
    has_interface: bool


SPEC_TO_RTL = Task(name="verilog-eval-v2-spec", folder="dataset_spec-to-rtl", has_interface=False)
CODE_COMPLETE = Task(name="verilog-eval-v2-complete", folder="dataset_code-complete-iccad2023", has_interface=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The files of one problem. `interface` is the module header of code-complete, "" in spec-to-rtl."""

    problem_id: str
    prompt: str
    interface: str
    golden: str
    testbench: str

    @property
    def content(self) -> str:
        """The hash that errata go by."""
        return content_hash(self.prompt, self.interface, self.golden, self.testbench)


class VerilogEvalV2:
    """One task of VerilogEval v2, read from the checkout at `root`.

    Raises UsageError that says what is missing when `root` is no checkout or lacks files of a problem.
    """

    def __init__(self, root: Path, task: Task) -> None:
        self.name = task.name
        self.sources = {sources.problem_id: sources for sources in _read_all(root, task)}

    def problems(self) -> Iterator[Problem]:
        """The problems, in the order of their names."""
        for sources in self.sources.values():
            yield self._problem(sources)

    def prepare(self, problem_id: str, completion: str) -> str:
        """The completion as our judge is to read it: with the given header where it only goes on from it."""
        answer = answer_text(completion)
        if self.sources[problem_id].interface and answer.strip() and extract(completion, TOP_MODULE) is None:
            return f"[BEGIN]{self._extract_as_upstream(problem_id, answer)}[DONE]"
        return completion

    def compatible_job(self, answer: Answer) -> VerilogEvalJob:
        """How upstream would run the answer."""
        sources = self.sources[answer.problem_id]
        candidate = answer.completion
        if not answer.is_extracted:
            candidate = self._extract_as_upstream(answer.problem_id, candidate)
        return VerilogEvalJob(candidate=candidate, testbench=sources.testbench, golden=sources.golden)

    def _extract_as_upstream(self, problem_id: str, completion: str) -> str:
        interface = self.sources[problem_id].interface
        return extract_code_complete(completion, interface) if interface else extract_spec_to_rtl(completion)

    def _problem(self, sources: Sources) -> Problem:
        hint = find_hint(self.name, sources.problem_id, sources.content)
        oracle = TestbenchOracle(
            testbench=sources.testbench,
            rule=PassRule.MISMATCH_COUNT,
            top=TESTBENCH_TOP,
            golden=sources.golden,
            golden_top=GOLDEN_TOP,
            protocol=stimulus_protocol(sources.golden, GOLDEN_TOP, sources.testbench, hint),
        )
        return Problem(
            problem_id=sources.problem_id,
            source=self.name,
            prompt=_prompt(sources),
            top_module=TOP_MODULE,
            ports=None,
            oracle=oracle,
        )


def load_spec_to_rtl(root: Path) -> ScoredBenchmark:
    """The task spec-to-rtl of a checkout, ready to be scored."""
    return _scored(VerilogEvalV2(root, SPEC_TO_RTL))


def load_code_complete(root: Path) -> ScoredBenchmark:
    """The task code-complete of a checkout, ready to be scored."""
    return _scored(VerilogEvalV2(root, CODE_COMPLETE))


def _scored(benchmark: VerilogEvalV2) -> ScoredBenchmark:
    found = {name: find_erratum(benchmark.name, name, sources.content) for name, sources in benchmark.sources.items()}
    return ScoredBenchmark(
        name=benchmark.name,
        problems={problem.problem_id: problem for problem in benchmark.problems()},
        prepare=benchmark.prepare,
        compatible=CompatibleRule(letters=LETTERS, checker=VerilogEvalChecker, job=benchmark.compatible_job),
        upstream_rate=rate_in_whole_per_cent,
        errata={name: erratum for name, erratum in found.items() if erratum is not None},
    )


def _prompt(sources: Sources) -> str:
    """spec-to-rtl: as it is. code-complete: the description as comments, then the header to be completed."""
    if not sources.interface:
        return sources.prompt
    description = sources.prompt.split(f"module {TOP_MODULE}", 1)[0].strip("\n")
    return completion_prompt(description, sources.interface)


def completion_prompt(description: str, header: str) -> str:
    """A module to be completed: the description as comments, then the module's header."""
    comments = "".join(f"// {line}".rstrip() + "\n" for line in description.split("\n"))
    return f"{comments}\n{header.strip()}\n"


def stimulus_protocol(golden: str, golden_top: str, testbench: str, hint: StimulusHint | None) -> Protocol | None:
    """What the golden's text does not tell of its inputs; None where nothing needs to be told."""
    one_hot = one_hot_inputs(testbench, ports_of(golden, golden_top)) if "<<" in testbench else ()
    if hint is None and not one_hot:
        return None
    hint = hint or StimulusHint()
    return replace(
        infer_protocol(golden, golden_top),
        min_cycles=hint.min_cycles,
        rare_high=hint.rare_high,
        rare_low=hint.rare_low,
        one_hot=one_hot,
    )


def _read_all(root: Path, task: Task) -> list[Sources]:
    folder = root / task.folder
    if not folder.is_dir():
        where = "is not a folder" if not root.is_dir() else f"has no folder {task.folder}"
        raise UsageError(f"{root} {where}; give the path of a checkout of github.com/NVlabs/verilog-eval (branch main)")
    names = sorted(path.name.removesuffix(_PROMPT_SUFFIX) for path in folder.glob(f"Prob*{_PROMPT_SUFFIX}"))
    if not names:
        raise UsageError(f"{folder} holds no Prob*{_PROMPT_SUFFIX}; is the checkout complete?")
    suffixes = ("_ref.sv", "_test.sv", *(("_ifc.txt",) if task.has_interface else ()))
    missing = missing_files(folder, [f"{name}{suffix}" for name in names for suffix in suffixes])
    if missing:
        raise UsageError(f"{folder} lacks {missing}; repair the checkout (git restore {task.folder})")
    return [_read(folder, name, has_interface=task.has_interface) for name in names]


def _read(folder: Path, name: str, *, has_interface: bool) -> Sources:
    texts = {}
    for key, suffix in (("prompt", _PROMPT_SUFFIX), ("golden", "_ref.sv"), ("testbench", "_test.sv")):
        texts[key] = read_text(folder / f"{name}{suffix}")
    interface = read_text(folder / f"{name}_ifc.txt") if has_interface else ""
    return Sources(problem_id=name, interface=interface, **texts)
