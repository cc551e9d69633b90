"""Known defects of benchmarks and what our stimulus must know of a problem: `errata.toml`, keyed by content.

An entry holds for one benchmark, problem and content hash: a checkout that was repaired is not blamed for what it no
longer has. Nothing in the user's checkout is edited.
"""

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources

KINDS = {
    "unsatisfiable": "no design can pass",
    "weak_testbench": "wrong designs pass",
    "needs_newer_simulator": "the golden uses what older simulators lack",
    "golden_times_out": "the golden itself runs into the testbench's time limit",
    "misleading_prompt": "the prompt asks for something else than the golden does",
    "unsupported_harness": "the harness asks for what our checkers do not do",
    "needs_older_cocotb": "the tests import what cocotb 2 no longer has",
    "golden_races": "the golden's own outcome depends on the simulator's order of events",
    "golden_fails": "the golden does not pass its own testbench here",
    "reads_internals": "the testbench reads names inside of the design, which no description asks for",
}
REFUSALS = frozenset(("unsupported_harness", "needs_older_cocotb"))  # kinds of problems that no row is judged of


@dataclass(frozen=True, kw_only=True, slots=True)
class Erratum:
    """One known defect. `kinds` are keys of KINDS; `note` says where it shows."""

    problem_id: str
    kinds: tuple[str, ...]
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StimulusHint:
    """What our own testbench must know to reach all of a design: fields of `verifiers.types.Protocol`."""

    min_cycles: int = 0
    rare_high: tuple[str, ...] = ()
    rare_low: tuple[str, ...] = ()


def content_hash(*texts: str) -> str:
    """The hash of a problem's files in their fixed order; line ends make no difference."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.replace("\r\n", "\n").encode())
        digest.update(b"\0")
    return digest.hexdigest()


def find_erratum(benchmark: str, problem_id: str, content: str) -> Erratum | None:
    """The known defect of a problem with this content, or None."""
    entry = _table()["errata"].get((benchmark, problem_id, content))
    return entry and Erratum(problem_id=problem_id, kinds=tuple(entry["kinds"]), note=entry["note"])


def merged(*found: Erratum | None) -> Erratum | None:
    """All that is known of one problem in one erratum; None for nothing."""
    known = [erratum for erratum in found if erratum is not None]
    if not known:
        return None
    kinds = tuple(dict.fromkeys(kind for erratum in known for kind in erratum.kinds))
    note = "; ".join(dict.fromkeys(erratum.note for erratum in known))
    return Erratum(problem_id=known[0].problem_id, kinds=kinds, note=note)


def find_hint(benchmark: str, problem_id: str, content: str) -> StimulusHint | None:
    """What our stimulus must know of a problem with this content, or None."""
    entry = _table()["hints"].get((benchmark, problem_id, content))
    return entry and StimulusHint(
        min_cycles=entry["min_cycles"],
        rare_high=tuple(entry["rare_high"]),
        rare_low=tuple(entry["rare_low"]),
    )


@functools.cache
def _table() -> dict[str, dict[tuple[str, str, str], dict]]:
    document = tomllib.loads(resources.files("hdl_bench").joinpath("errata.toml").read_text(encoding="utf-8"))
    table: dict[str, dict[tuple[str, str, str], dict]] = {"errata": {}, "hints": {}}
    for section, by_key in table.items():
        for entry in document[section]:
            assert set(entry["kinds"] if section == "errata" else ()) <= set(KINDS), entry
            key = (entry["benchmark"], entry["problem"], entry["content"])
            assert key not in by_key, f"errata.toml has two entries for {key}"
            by_key[key] = entry
    return table
