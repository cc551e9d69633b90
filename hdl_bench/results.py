"""Results files: one document a score (rates, config, versions, hashes, verdicts), one line a sample beside it.

The names follow lm-eval's habits: `results_<date>.json`, `samples_<benchmark>_<date>.jsonl`. The shape of the document
is in docs/results.md. A samples file can be scored again: its rows have `problem_id` and `completion`.
"""

import hashlib
import json
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hdl_bench.prompts import prompt_sha256
from hdl_bench.rates import problem_counts, results_of
from hdl_bench.score import Score, ScoredRow, reason_of
from hdl_bench.text_files import write_whole
from verifiers.cache import judge_fingerprint
from verifiers.problem_json import problem_to_json
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Problem
from verifiers.verdict_json import verdict_document

FORMAT = "earl-results-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInfo:
    """How completions came to be. None is "not known": `earl score` knows only what it is told."""

    model: str | None = None
    model_revision: str | None = None
    engine: str | None = None
    num_samples: int | None = None  # asked for, a problem; the document says what each problem has
    temperature: float | None = None  # 0 is greedy
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    prompt_style: str | None = None
    num_shots: int | None = None
    prompts_hash: str | None = None
    num_prompt_tokens: int | None = None
    num_completion_tokens: int | None = None
    cost_usd: float | None = None
    wall_s: float | None = None

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0


def results_document(score: Score, run_info: RunInfo) -> dict[str, Any]:
    """What `earl score --json` and `earl eval --json` write."""
    counts = problem_counts(score)
    document = {
        "format": FORMAT,
        "benchmark": score.benchmark.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {**asdict(run_info), "verifier_seeds": list(EVAL_SEEDS)},
        "n-samples": _num_samples(score),
        "results": results_of(score, is_greedy=run_info.is_greedy),
        "higher_is_better": True,
        "versions": _versions(score),
        "hashes": _hashes(score, run_info),
        "problems": [asdict(count) for count in counts],
        "verdicts": [_row_document(row) for row in score.rows],
        "letters": dict(score.benchmark.compatible.letters) if score.benchmark.compatible else {},
        "disagreements": [_disagreement(row) for row in score.disagreements],
        "errata": [
            {"problem_id": erratum.problem_id, "kinds": list(erratum.kinds), "note": erratum.note}
            for erratum in score.benchmark.errata.values()
            if any(count.problem_id == erratum.problem_id for count in counts)
        ],
    }
    return document | {"summary": _summary(score, document)}


def sample_rows(score: Score, prompts: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
    """One record a row for the samples file. `prompts` are those that the model was given, by problem: a text or a list
    of messages; without them the problems' own."""
    return [_sample_row(score, row, prompts or {}) for row in score.rows]


def write_results(folder: Path, document: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> tuple[Path, Path]:
    """Write `results_<date>.json` and `samples_<benchmark>_<date>.jsonl` into `folder`, made if it is not there.

    Raises InfrastructureError when the disk refuses.
    """
    date = document["date"].removesuffix("+00:00").replace(":", "-")
    results, samples = folder / f"results_{date}.json", folder / f"samples_{document['benchmark']}_{date}.jsonl"
    write_whole(samples, "".join(json.dumps(row) + "\n" for row in rows))
    write_whole(results, json.dumps(document, indent=2) + "\n")
    return results, samples


def dataset_hash(problems: Iterable[Problem]) -> str:
    """The hash of what a benchmark asks and judges by: ids, prompts, oracles. What we know of them beside it is not in
    it: with new errata or hints for our stimulus a checkout remains the same."""
    digest = hashlib.sha256()
    for problem in sorted(problems, key=lambda problem: problem.problem_id):
        bare = replace(problem, oracle=replace(problem.oracle, protocol=None), family="", difficulty=0, ports=None)
        digest.update(json.dumps(problem_to_json(bare), sort_keys=True).encode() + b"\0")
    return digest.hexdigest()


def _num_samples(score: Score) -> dict[str, int]:
    nums = Counter(row.sample.problem_id for row in score.rows)
    return {
        "problems": len(score.benchmark.problems),
        "problems_sampled": len(nums),
        "rows": len(score.rows),
        "rows_per_problem_min": min(nums.values(), default=0),
        "rows_per_problem_max": max(nums.values(), default=0),
    }


def _versions(score: Score) -> dict[str, str]:
    """Of this code, and of the tools as the verdicts name them: a verdict may come from another machine."""
    tools: dict[str, set[str]] = defaultdict(set)
    for row in score.rows:
        for name, tool_version in row.verdict.versions.items():
            tools[name].add(tool_version)
    ours = {"earl-rtl": version("earl-rtl"), "python": platform.python_version()}
    return ours | {name: ", ".join(sorted(versions)) for name, versions in sorted(tools.items())}


def _hashes(score: Score, run_info: RunInfo) -> dict[str, str | None]:
    samples = [[row.sample.problem_id, row.sample.sample_idx, row.sample.completion] for row in score.rows]
    return {
        "dataset": dataset_hash(score.benchmark.problems.values()),
        "errata": hashlib.sha256(resources.files("hdl_bench").joinpath("errata.toml").read_bytes()).hexdigest(),
        "samples": _hash_of(samples),
        "prompts": run_info.prompts_hash,
        "judge": judge_fingerprint(),
    }


def _hash_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _row_document(row: ScoredRow) -> dict[str, Any]:
    document = {
        "problem_id": row.sample.problem_id,
        "sample_idx": row.sample.sample_idx,
        **verdict_document(row.verdict),
    }
    if row.proof is not None:
        document["formal"] = row.proof.value
    if row.sizes is not None:
        document["sizes"] = asdict(row.sizes)
    if row.compatible is not None:
        document["compatible"] = {"passed": row.compatible.passed, "letter": row.compatible.letter}
    return document


def _disagreement(row: ScoredRow) -> dict[str, Any]:
    assert row.compatible is not None, "only a row with upstream's result can disagree"
    return {
        "problem_id": row.sample.problem_id,
        "sample_idx": row.sample.sample_idx,
        "passed": row.verdict.passed,
        "compatible": row.compatible.passed,
        "reason": reason_of(row),
    }


def _summary(score: Score, document: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that most people look for."""
    results, nums = document["results"], document["n-samples"]
    compatible = results["compatible"]
    return {
        "num_rows": nums["rows"],
        "num_problems": nums["problems"],
        "num_problems_sampled": nums["problems_sampled"],
        "num_problems_with_errata": sum(not count["is_sound"] for count in document["problems"]),
        "num_tool_errors": results["tool_errors"]["num_rows"],
        "pass@1": _value(results["hardened"]["all"]),
        "pass@1_sound": _value(results["hardened"]["sound"]),
        "pass@1_compatible": compatible and _value(compatible | compatible["all"], "upstream", "pass@1"),
        "num_disagreements": len(score.disagreements),
        "outcomes": dict(Counter(row.verdict.outcome.value for row in score.rows).most_common()),
        "proofs": dict(Counter(row.proof.value for row in score.rows if row.proof).most_common()),
        "letters": dict(Counter(row.compatible.letter for row in score.rows if row.compatible).most_common()),
    }


def _value(block: Mapping[str, Any], *names: str) -> float | None:
    """The value of the first of these figures (or of pass@1) that the block has; None where it has none."""
    found: Sequence[Mapping[str, Any]] = [block[name] for name in names or ("pass@1",) if name in block]
    return found[0]["value"] if found else None


def _sample_row(score: Score, row: ScoredRow, prompts: Mapping[str, object]) -> dict[str, Any]:
    sample, problem = row.sample, score.benchmark.problems[row.sample.problem_id]
    prompt = prompts.get(sample.problem_id, problem.prompt)
    document = {
        "problem_id": sample.problem_id,
        "sample_idx": sample.sample_idx,
        "prompt": prompt,
        "completion": sample.completion,
        "candidate": row.candidate,
        "outcome": row.verdict.outcome.value,
        "passed": row.verdict.passed,
        "formal": row.proof and row.proof.value,
        "compatible": row.compatible and {"passed": row.compatible.passed, "letter": row.compatible.letter},
        "doc_hash": dataset_hash([problem]),
        "prompt_hash": prompt_sha256(prompt),
        "completion_hash": _hash_of(sample.completion),
    }
    return document
