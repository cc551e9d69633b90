"""VerilogEval v1 from a user's checkout (branch release/1.0.0): Human and Machine as problems. Ships no data.

A completion goes on from the module's header, which the prompt ends with. The golden is the header with the canonical
solution; the testbench carries a copy of it under another name.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hdl_bench.compatible import Answer, CompatibleRule
from hdl_bench.compatible_verilog_eval import extract_code_complete
from hdl_bench.compatible_verilog_eval_v1 import (
    LETTERS,
    VerilogEvalV1Checker,
    VerilogEvalV1Job,
    job_text,
    mean_pass_rate,
)
from hdl_bench.errata import content_hash, find_erratum, find_hint
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.text_files import read_json_lines
from hdl_bench.verilog_eval import completion_prompt, stimulus_protocol
from toolchain.errors import UsageError
from verifiers.extract import answer_text, extract
from verifiers.lexer import LexemeKind, lex
from verifiers.types import PassRule, Problem, TestbenchOracle

TOP_MODULE, TESTBENCH_TOP = "top_module", "tb"
_UPSTREAM = "github.com/NVlabs/verilog-eval, branch release/1.0.0"
_KEYS = ("task_id", "prompt", "canonical_solution", "test")
_DESCRIPTION = "detail_description"


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One of the benchmark's two sets of descriptions, and how its files are called."""

    name: str
    file_stem: str


HUMAN = Task(name="verilog-eval-v1-human", file_stem="Human")
MACHINE = Task(name="verilog-eval-v1-machine", file_stem="Machine")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """One problem. `header` is upstream's `prompt`: the module's header, up to its semicolon."""

    task_id: str
    description: str
    header: str
    solution: str
    testbench: str

    @property
    def golden(self) -> str:
        return f"{self.header}\n{self.solution}"

    @property
    def content(self) -> str:
        """The hash that errata go by."""
        return content_hash(self.description, self.header, self.solution, self.testbench)


class VerilogEvalV1:
    """One task of VerilogEval v1, read from the checkout at `root`.

    Raises UsageError that says what is missing when `root` is no checkout or lacks a part of a problem.
    """

    def __init__(self, root: Path, task: Task) -> None:
        self.name = task.name
        self.sources = {sources.task_id: sources for sources in _read_all(root, task)}

    def problems(self) -> Iterator[Problem]:
        """The problems, in the order of the file."""
        for sources in self.sources.values():
            yield self._problem(sources)

    def prepare(self, problem_id: str, completion: str) -> str:
        """The completion as our judge is to read it: with the given header in front, where it only goes on from it."""
        candidate = extract(completion, TOP_MODULE)
        if candidate is not None and _defines_top(candidate.text):
            return completion
        answer = answer_text(completion)
        if not answer.strip():
            return completion
        header = self.sources[problem_id].header
        body = extract_code_complete(answer, "") if candidate is None else candidate.text
        return f"[BEGIN]{header}\n{body}[DONE]"

    def compatible_job(self, answer: Answer) -> VerilogEvalV1Job:
        """How upstream would run the answer: as it is."""
        sources = self.sources[answer.problem_id]
        text = job_text(test=sources.testbench, prompt=sources.header, completion=answer.completion)
        return VerilogEvalV1Job(task_id=sources.task_id, text=text)

    def _problem(self, sources: Sources) -> Problem:
        hint = find_hint(self.name, sources.task_id, sources.content)
        oracle = TestbenchOracle(
            testbench=sources.testbench,
            rule=PassRule.MISMATCH_COUNT,
            top=TESTBENCH_TOP,
            golden=sources.golden,
            golden_top=TOP_MODULE,
            protocol=stimulus_protocol(sources.golden, TOP_MODULE, sources.testbench, hint),
        )
        return Problem(
            problem_id=sources.task_id,
            source=self.name,
            prompt=completion_prompt(sources.description.strip("\n"), sources.header),
            top_module=TOP_MODULE,
            ports=None,
            oracle=oracle,
        )


def load_human(root: Path) -> ScoredBenchmark:
    """The Human problems of a checkout, ready to be scored."""
    return _scored(VerilogEvalV1(root, HUMAN))


def load_machine(root: Path) -> ScoredBenchmark:
    """The Machine problems of a checkout, ready to be scored."""
    return _scored(VerilogEvalV1(root, MACHINE))


def _scored(benchmark: VerilogEvalV1) -> ScoredBenchmark:
    found = {name: find_erratum(benchmark.name, name, sources.content) for name, sources in benchmark.sources.items()}
    return ScoredBenchmark(
        name=benchmark.name,
        problems={problem.problem_id: problem for problem in benchmark.problems()},
        prepare=benchmark.prepare,
        compatible=CompatibleRule(letters=LETTERS, checker=VerilogEvalV1Checker, job=benchmark.compatible_job),
        upstream_rate=mean_pass_rate,
        errata={name: erratum for name, erratum in found.items() if erratum is not None},
    )


def _defines_top(text: str) -> bool:
    """Whether the text has the top module's header, comments and strings aside."""
    words = [text[x.start : x.end] for x in lex(text) if x.kind not in (LexemeKind.WHITESPACE, LexemeKind.COMMENT)]
    names = [word for word in words if word not in ("automatic", "static")]
    return ("module", TOP_MODULE) in itertools.pairwise(names)


def _read_all(root: Path, task: Task) -> list[Sources]:
    data = root / "data" / f"VerilogEval_{task.file_stem}.jsonl"
    descriptions = root / "descriptions" / f"VerilogDescription_{task.file_stem}.jsonl"
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; give the path of a checkout of {_UPSTREAM}")
    missing = [str(path.relative_to(root)) for path in (data, descriptions) if not path.is_file()]
    if missing:
        raise UsageError(f"{root} lacks {' and '.join(missing)}; give the path of a checkout of {_UPSTREAM}")
    asked = {row["task_id"]: row[_DESCRIPTION] for row in _rows(descriptions, ("task_id", _DESCRIPTION))}
    found: dict[str, Sources] = {}
    for row in _rows(data, _KEYS):
        name = row["task_id"]
        if name not in asked:
            raise UsageError(f"{descriptions} has no description of {name!r}; repair the checkout")
        if name in found:
            raise UsageError(f"{data} has the task_id {name!r} twice; repair the checkout")
        found[name] = Sources(
            task_id=name,
            description=asked[name],
            header=row["prompt"],
            solution=row["canonical_solution"],
            testbench=row["test"],
        )
    if not found:
        raise UsageError(f"{data} holds no problem; is the checkout complete?")
    return list(found.values())


def _rows(path: Path, keys: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for where, row in read_json_lines(path):
        for key in keys:
            if not isinstance(row, dict) or not isinstance(row.get(key), str) or not row[key].strip():
                raise UsageError(f"{where} needs {key!r} as a text; repair the checkout")
        yield row
