"""A verdict as JSON-able data: what `earl verify --json` prints and a results file holds for each row."""

from dataclasses import asdict
from typing import Any

from verifiers.types import Verdict

_COPIED = (
    *("seed", "num_samples", "num_mismatches", "first_mismatch", "diagnostics"),
    *("suspect_lines", "versions", "isolation", "duration_s"),
)


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """The verdict's fields, `passed`, and what each output matched."""
    record = asdict(verdict)
    outputs = [asdict(output) | {"matched_fraction": output.matched_fraction} for output in verdict.outputs]
    return {
        "outcome": verdict.outcome.value,
        "passed": verdict.passed,
        "stage": verdict.stage.value,
        "outputs": outputs,
        **{key: record[key] for key in _COPIED},
    }
