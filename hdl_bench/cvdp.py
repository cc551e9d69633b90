"""CVDP's non-agentic code generation from a user's JSONL file (or folder of such): problems with a cocotb harness.

Experimental: it was tried on a few real harnesses (docs/scoring.md says which), not on the whole published data set.
The runs that the harness's runner makes are made by our cocotb checker, without Docker, and its Python on a full
isolation rung only. A harness that we do not run, or whose tests import what cocotb 2 or this machine lacks, is an
erratum: every row of its problem is a tool error that says why.

A candidate is judged together with the other files of VERILOG_SOURCES. The published file has no solutions: then
candidates are judged by the tests alone, and a test that breaks at run time looks like a wrong candidate.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from hdl_bench.cvdp_harness import Harness, missing_imports, missing_packages, read_harness, test_source
from hdl_bench.errata import Erratum
from hdl_bench.problem_source import SourceRow, read_rows
from hdl_bench.scored import ScoredBenchmark
from toolchain.errors import UsageError
from verifiers.directives import check_text
from verifiers.elaborate import parse
from verifiers.extract import extract
from verifiers.screen import screen_syntax
from verifiers.types import CocotbOracle, Problem

NAME = "cvdp"
CATEGORIES = {
    "cid002": "code completion",
    "cid003": "specification to RTL",
    "cid004": "code modification",
    "cid007": "lint and quality",
    "cid016": "debugging",
}
_DIFFICULTIES = {"easy": 1, "medium": 3, "hard": 5}
_RTL_SUFFIXES = (".v", ".sv", ".svh", ".vh")


def _from_text(value: Any) -> Any:
    """Tables of the Hub hold nested objects as JSON text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def _files(value: Any) -> Any:
    """A harness is its files, or an object with `files`; a file without text is none."""
    value = _from_text(value)
    value = _from_text(value["files"]) if isinstance(value, dict) and "files" in value else value
    return {name: text for name, text in value.items() if text is not None} if isinstance(value, dict) else value


_Files = Annotated[dict[str, str], BeforeValidator(_files)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Input(_Part):
    """What the model is given."""

    prompt: str
    context: _Files = {}


class Output(_Part):
    """Which files it is to write; with their text where solutions are published."""

    response: str = ""
    context: _Files = {}


class CvdpRow(_Part):
    """One line of the data set. Other keys are ignored."""

    id: str
    categories: Annotated[list[str], BeforeValidator(_from_text)]
    input: Annotated[Input, BeforeValidator(_from_text)]
    output: Annotated[Output, BeforeValidator(_from_text)]
    harness: _Files


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """A row with its harness read: the files to be written, and the text of the others that are compiled with them."""

    row: CvdpRow
    harness: Harness
    targets: tuple[str, ...]
    beside: str
    fault: str

    def with_context(self, candidate: str) -> str:
        return f"{self.beside}{candidate}"


def load(root: Path) -> ScoredBenchmark:
    """The code-generation problems of a file, or of all .jsonl files in a folder, ready to be scored.

    Raises UsageError for what is no such row, for agentic rows, and where no row is of a category that we run.
    """
    tasks: dict[str, _Task] = {}
    for source in read_rows(root):
        row = _parse(source)
        if CATEGORIES.keys() & set(row.categories):
            if row.id in tasks:
                raise UsageError(f"{source.where}: the id {row.id!r} is there twice; give one file of the data set")
            tasks[row.id] = _task(row)
    if not tasks:
        raise UsageError(f"{root} has no problem of {', '.join(CATEGORIES)}; give a code-generation file")
    errata = {name: erratum for name, task in tasks.items() if (erratum := _erratum(task)) is not None}
    return ScoredBenchmark(
        name=NAME,
        problems={name: _problem(task) for name, task in tasks.items()},
        prepare=_preparer(tasks),
        errata=errata,
    )


def _parse(source: SourceRow) -> CvdpRow:
    data = source.data
    if not isinstance(data, dict):
        raise UsageError(f"{source.where} must be an object, got {data!r:.60}")
    if "input" not in data and "prompt" in data:
        raise UsageError(f"{source.where} is an agentic problem; give a non-agentic code-generation file")
    try:
        return CvdpRow.model_validate(data)
    except ValidationError as error:
        worst = error.errors()[0]
        key = ".".join(str(part) for part in worst["loc"])
        raise UsageError(f"{source.where}: the key {key!r}: {worst['msg']}; got {worst['input']!r:.80}") from error


def _task(row: CvdpRow) -> _Task:
    harness = read_harness(row.harness)
    targets = tuple(name for name in row.output.context if name.endswith(_RTL_SUFFIXES)) or harness.sources[:1]
    there = row.input.context | row.harness
    others = [name for name in harness.sources if name not in targets]
    missing = [name for name in others if name not in there]
    beside = "".join(f"{there[name]}\n" for name in others if name in there)
    fault = harness.problem or (f"the source {missing[0]} is neither given nor asked for" if missing else "")
    return _Task(row=row, harness=harness, targets=targets, beside=beside, fault=fault or _forbidden_in(beside))


def _forbidden_in(beside: str) -> str:
    """What in the given files no candidate may hold: it would be blamed for it."""
    findings = check_text(beside) or screen_syntax(parse(beside))
    return f"a given file holds what the screen forbids: {findings[0].message}" if findings else ""


def _erratum(task: _Task) -> Erratum | None:
    fault = task.fault or missing_packages(task.harness)
    if fault:
        return Erratum(problem_id=task.row.id, kinds=("unsupported_harness",), note=fault)
    note = missing_imports(task.harness)
    return Erratum(problem_id=task.row.id, kinds=("needs_older_cocotb",), note=note) if note else None


def _problem(task: _Task) -> Problem:
    row, harness = task.row, task.harness
    golden = _golden(task)
    tests = f"raise ImportError({task.fault!r})\n" if task.fault else test_source()
    oracle = CocotbOracle(
        test_source=tests,
        is_trusted=False,
        simulator="icarus" if task.fault else harness.simulator,
        golden=golden,
        golden_top=harness.top_module if golden else None,
        files=() if task.fault else harness.files,
        runner="" if task.fault else harness.runner,
        variables=() if task.fault else harness.variables,
    )
    return Problem(
        problem_id=row.id,
        source=NAME,
        prompt=_prompt(task),
        top_module=harness.top_module or "unknown",
        ports=None,
        oracle=oracle,
        family=next(category for category in row.categories if category in CATEGORIES),
        difficulty=next((_DIFFICULTIES[word] for word in row.categories if word in _DIFFICULTIES), 0),
    )


def _golden(task: _Task) -> str | None:
    """The published solution with the files beside it; None where there is none."""
    row = task.row
    texts = [row.output.context.get(name, "") for name in task.targets]
    if len(texts) == 1 and not texts[0].strip() and row.output.response.strip():
        candidate = extract(row.output.response, task.harness.top_module)
        texts = [candidate.text] if candidate else []
    if task.fault or not texts or not all(text.strip() for text in texts):
        return None
    return task.with_context("\n".join(texts))


def _prompt(task: _Task) -> str:
    """The row's prompt, the files that it is about, and how to answer."""
    given = "".join(f"\n\nThe file {name}:\n```\n{text}\n```" for name, text in task.row.input.context.items())
    if len(task.targets) > 1:
        names = ", ".join(task.targets)
        answer = f'Answer with JSON, {{"code": [{{"<name>": "<code>"}}]}}, that holds the whole text of {names}.'
    else:
        answer = f"Answer with the whole text of {''.join(task.targets)}."
    return f"{task.row.input.prompt}{given}\n\n{answer}\n"


def _preparer(tasks: dict[str, _Task]) -> Callable[[str, str], str]:
    def prepare(problem_id: str, completion: str) -> str:
        task = tasks[problem_id]
        code = _code_of_json(completion, task.targets) if len(task.targets) > 1 else None
        if code is None and not task.beside:
            return completion
        if code is None:
            candidate = extract(completion, task.harness.top_module)
            if candidate is None:
                return completion
            code = candidate.text
        return f"[BEGIN]{task.with_context(code)}[DONE]"

    return prepare


def _code_of_json(completion: str, targets: tuple[str, ...]) -> str | None:
    """The files of an answer in JSON, one text; None for an answer that is no such JSON."""
    match = re.search(r"\{.*\}", completion, re.DOTALL)
    try:
        document = json.loads(match[0]) if match else None
    except json.JSONDecodeError:
        return None
    files = document.get("code") if isinstance(document, dict) else None
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        return None
    by_name = {name: text for file in files for name, text in file.items() if isinstance(text, str)}
    return "\n".join(by_name[name] for name in targets if name in by_name) or None
