"""RTLLM v2.0 and v1.1 from a user's checkout: designs as problems with stock testbench and golden. Ships no data.

A design is a folder with a `design_description.txt`. The module under test is what the testbench instantiates, whatever
the folder and the description call it. What the files themselves show to be amiss is an erratum, whether it is in
`errata.toml` or not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hdl_bench.checkout import missing_files, read_text
from hdl_bench.compatible import Answer, CompatibleRule, Rate
from hdl_bench.compatible_rtllm import LETTERS, RtllmChecker, RtllmJob, rate_by_auto_run
from hdl_bench.errata import Erratum, content_hash, find_erratum, find_hint, merged
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.testbench_names import SourceNames, names_of
from hdl_bench.verilog_eval import stimulus_protocol
from toolchain.errors import UsageError
from verifiers.extract import extract
from verifiers.interface import ports_of
from verifiers.types import PassRule, Port, Problem, TestbenchOracle

_DESCRIPTION, _TESTBENCH, _GOLDENS = "design_description.txt", "testbench.v", "verified_*.v"
_DATA_SUFFIXES = frozenset((".txt", ".dat", ".hex", ".mem", ".data"))
_MODULE_NAME = re.compile(r"^[ \t]*module name[ \t]*:?[ \t]*\n?[ \t]*(\w+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One version of the benchmark: how deep its designs lie, and upstream's arithmetic."""

    name: str
    depth: int
    upstream: str
    rate: Rate


V2 = Task(
    name="rtllm-v2",
    depth=3,
    upstream="github.com/hkust-zhiyao/RTLLM (branch main)",
    rate=rate_by_auto_run(num_names=50, skipped=frozenset({"freq_divbyfrac"})),
)
V1_1 = Task(
    name="rtllm-v1.1",
    depth=1,
    upstream="github.com/hkust-zhiyao/RTLLM (branch v1.1)",
    rate=rate_by_auto_run(num_names=29),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The files of one design, and the names in them. `category` is the first folder of v2, "" in v1.1.

    `top_module` is the module under test, `golden_top` the golden's.
    """

    problem_id: str
    category: str
    description: str
    testbench: str
    golden: str
    files: tuple[tuple[str, str], ...]
    top_module: str
    golden_top: str
    ports: tuple[Port, ...]  # of the golden
    testbench_top: str | None
    inner_names: tuple[str, ...]  # names inside of the module under test that the testbench uses

    @property
    def content(self) -> str:
        """The hash that errata go by."""
        return content_hash(self.description, self.testbench, self.golden, *(text for _, text in self.files))


class Rtllm:
    """One version of RTLLM, read from the checkout at `root`.

    Raises UsageError that says what is missing when `root` is no checkout or lacks files of a design.
    """

    def __init__(self, root: Path, task: Task) -> None:
        self.name = task.name
        self.sources = {sources.problem_id: sources for sources in _read_all(root, task)}

    def problems(self) -> Iterator[Problem]:
        """The designs, in the order of their folders."""
        for sources in self.sources.values():
            yield self._problem(sources)

    def compatible_job(self, answer: Answer) -> RtllmJob:
        """How upstream would run the answer. It judges files: what stands around the code is for us to drop."""
        sources = self.sources[answer.problem_id]
        text = answer.completion
        if not answer.is_extracted:
            candidate = extract(text, sources.top_module)
            text = text if candidate is None else candidate.text
        return RtllmJob(candidate=text, testbench=sources.testbench, files=sources.files)

    def erratum(self, problem_id: str) -> Erratum | None:
        """What is known of a design, and what its files show."""
        sources = self.sources[problem_id]
        return merged(find_erratum(self.name, problem_id, sources.content), *_shown_errata(sources))

    def _problem(self, sources: Sources) -> Problem:
        oracle = TestbenchOracle(
            testbench=sources.testbench,
            rule=PassRule.BANNER,
            top=sources.testbench_top,
            files=sources.files,
        )
        if all(port.direction in ("input", "output") for port in sources.ports):  # ours can drive it
            hint = find_hint(self.name, sources.problem_id, sources.content)
            protocol = stimulus_protocol(sources.golden, sources.golden_top, sources.testbench, hint)
            oracle = replace(oracle, golden=sources.golden, golden_top=sources.golden_top, protocol=protocol)
        return Problem(
            problem_id=sources.problem_id,
            source=self.name,
            prompt=sources.description,
            top_module=sources.top_module,
            ports=sources.ports,
            oracle=oracle,
            family=sources.category,
        )


def load_v2(root: Path) -> ScoredBenchmark:
    """RTLLM v2.0, ready to be scored."""
    return _scored(root, V2)


def load_v1_1(root: Path) -> ScoredBenchmark:
    """RTLLM v1.1, ready to be scored."""
    return _scored(root, V1_1)


def _scored(root: Path, task: Task) -> ScoredBenchmark:
    benchmark = Rtllm(root, task)
    found = {name: benchmark.erratum(name) for name in benchmark.sources}
    return ScoredBenchmark(
        name=task.name,
        problems={problem.problem_id: problem for problem in benchmark.problems()},
        prepare=lambda problem_id, completion: completion,
        compatible=CompatibleRule(letters=LETTERS, checker=RtllmChecker, job=benchmark.compatible_job),
        upstream_rate=task.rate,
        errata={name: erratum for name, erratum in found.items() if erratum is not None},
    )


def _shown_errata(sources: Sources) -> Iterator[Erratum]:
    """The defects that a design's own files show."""
    name = sources.problem_id
    if sources.inner_names:
        note = f"the testbench reads {', '.join(sources.inner_names)}"
        yield Erratum(problem_id=name, kinds=("reads_internals",), note=note)
    asked = _MODULE_NAME.search(sources.description)
    if asked is not None and asked[1] != sources.top_module:
        note = f"the description names the module {asked[1]}, the testbench instantiates {sources.top_module}"
        yield Erratum(problem_id=name, kinds=("misleading_prompt",), note=note)


def _read_all(root: Path, task: Task) -> list[Sources]:
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; give the path of a checkout of {task.upstream}")
    folders = _design_folders(root, task.depth)
    if not folders:
        other = next((t for t in (V2, V1_1) if t is not task and _design_folders(root, t.depth)), None)
        hint = f"; its layout is that of {other.name}" if other else ""
        where = "/".join(["*"] * task.depth + [_DESCRIPTION])
        raise UsageError(f"{root} holds no {where}{hint}; give the path of a checkout of {task.upstream}")
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.name in found:
            raise UsageError(f"the design {folder.name} is there twice: {found[folder.name]} and {folder}; remove one")
        found[folder.name] = folder
        missing = missing_files(folder, (_TESTBENCH,))
        missing = ", ".join(name for name in (missing, "" if _golden_files(folder) else _GOLDENS) if name)
        if missing:
            raise UsageError(f"{folder} lacks {missing}; repair the checkout (git restore .)")
    return [_read(folder, folder.relative_to(root).parts[0] if task.depth > 1 else "") for folder in folders]


def _design_folders(root: Path, depth: int) -> list[Path]:
    return sorted(path.parent for path in root.glob("/".join(["*"] * depth + [_DESCRIPTION])))


def _golden_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(_GOLDENS))


def _read(folder: Path, category: str) -> Sources:
    testbench = read_text(folder / _TESTBENCH)
    golden = "\n".join(read_text(path) for path in _golden_files(folder))
    data = [path for path in sorted(folder.iterdir()) if path.suffix in _DATA_SUFFIXES and path.name != _DESCRIPTION]
    names, golden_names = names_of(testbench), names_of(golden)
    top_module = _module_under_test(names, golden_names, folder)
    golden_top = _top_of_golden(golden_names, top_module, folder)
    try:
        ports = ports_of(golden, golden_top)
    except UsageError as error:
        raise UsageError(f"{folder}: {error}") from error
    roots = names.roots
    return Sources(
        problem_id=folder.name,
        category=category,
        description=read_text(folder / _DESCRIPTION),
        testbench=testbench,
        golden=golden,
        files=tuple((path.name, read_text(path, may_be_empty=True)) for path in data),
        top_module=top_module,
        golden_top=golden_top,
        ports=ports,
        testbench_top=roots[0] if len(roots) == 1 else None,
        inner_names=names.paths_into(top_module),
    )


def _module_under_test(names: SourceNames, golden: SourceNames, folder: Path) -> str:
    """The module that the testbench instantiates and does not define; of several, the one that the golden is."""
    if not names.undefined:
        raise UsageError(f"{folder / _TESTBENCH} instantiates no module that it does not define; repair the checkout")
    undefined = [name for name in names.undefined if name not in golden.modules] or list(names.undefined)
    likely = (name for name in undefined if name in (folder.name, *golden.roots) or f"verified_{name}" in golden.roots)
    return next(likely, undefined[0])


def _top_of_golden(golden: SourceNames, top_module: str, folder: Path) -> str:
    """The golden's root module; of several, the one named as the module under test or as the file."""
    if not golden.roots:
        raise UsageError(f"{folder} has a {_GOLDENS} without a root module; repair the checkout")
    stems = [path.stem for path in _golden_files(folder)]
    wanted = (top_module, f"verified_{top_module}", *stems)
    return next((name for name in wanted if name in golden.roots), golden.roots[0])
