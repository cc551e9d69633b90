"""What a row of a user's own problems says, in our form, TRL's or verl's: one `Problem` of it.

The forms, first that applies:
- `oracle` is there: the wire format of `verifiers.problem_json`, as `earl problems make` writes it;
- `problem` (TRL's column for our reward function) or verl's `reward_model.ground_truth`: a row of any form as JSON
  text; a ground truth that is no JSON object is the golden;
- else the flat form, `ProblemRow`: a golden, or a testbench, or a cocotb test module. TRL's names are understood:
  `prompt` as chat messages, `completion` or `solution` for the golden, which may stand in a fenced block.
"""

import difflib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hdl_bench.problem_source import SourceRow
from toolchain.errors import UsageError
from verifiers.elaborate import elaborate, parse
from verifiers.extract import extract
from verifiers.problem_json import problem_from_json
from verifiers.types import PassRule, Problem

# names of other projects -> ours
_ALIASES = {"id": "problem_id", "task_id": "problem_id", "completion": "golden", "solution": "golden"}
_RULE_TEXTS = {PassRule.MISMATCH_COUNT: "Mismatches:", PassRule.BANNER: "Your Design Passed"}
_ORACLE_KEYS = ("golden", "testbench", "cocotb")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Message(_Strict):
    """A chat message of a prompt."""

    role: Literal["system", "user"]
    content: str


class PortRow(_Strict):
    """A port of the top module."""

    name: str
    direction: Literal["input", "output", "inout"]
    width: Annotated[int, Field(ge=1)] = 1


class ClockRow(_Strict):
    """A clock input and the edges that the design acts on."""

    name: str
    edge: Literal["posedge", "negedge", "both"] = "posedge"


class ResetRow(_Strict):
    """A reset input."""

    name: str
    is_active_high: bool = True
    is_synchronous: bool = True


class ProtocolRow(_Strict):
    """How the golden's inputs behave, where its source does not tell."""

    clocks: list[ClockRow] = []
    resets: list[ResetRow] = []
    min_cycles: Annotated[int, Field(ge=0)] = 0
    rare_high: list[str] = []
    rare_low: list[str] = []
    one_hot: list[str] = []


class ProblemRow(_Strict):
    """A problem: what the model reads, and a golden, a testbench or a cocotb test module that judges its answers."""

    problem_id: str = Field(default="", description="Default: the file's name and the row's number from 0.")
    prompt: str | list[Message] = Field(description="What the model reads: text, or chat messages.")
    top_module: str | None = Field(default=None, description="The answer's module. Default: the golden's.")
    golden: str | None = Field(default=None, description="A right design. Alone, it judges by equal outputs.")
    golden_top: str | None = Field(default=None, description="The golden's top module. Default: its only root.")
    testbench: str | None = Field(default=None, description="A testbench that instantiates top_module.")
    testbench_top: str | None = Field(default=None, description="Default: the testbench's only root.")
    rule: PassRule | None = Field(
        default=None,
        strict=False,
        description="How the testbench says that a design is right. Default: by what it prints.",
    )
    cocotb: str | None = Field(default=None, description="The source of a cocotb 2 test module.")
    simulator: Literal["icarus", "verilator"] = Field(default="icarus", description="Of the cocotb tests.")
    is_trusted: bool = Field(default=False, description="The cocotb tests may run without a full sandbox.")
    files: dict[str, str] = Field(default={}, description="Name and text of what the tests read or import.")
    ports: list[PortRow] | None = Field(default=None, description="Default: the golden's.")
    protocol: ProtocolRow | None = Field(default=None, description="Default: inferred from the golden.")
    source: str = ""
    family: str = Field(default="", description="A category, for tables.")
    difficulty: Annotated[int, Field(ge=0, le=5)] = Field(default=0, description="1 easy to 5 hard; 0 unknown.")

    @property
    def prompt_text(self) -> str:
        """The prompt as one text: of chat messages, the contents in order."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n\n".join(message.content for message in self.prompt)


def problem_of_row(row: SourceRow) -> Problem:
    """The problem that a row describes. Raises UsageError that names the row's place and the key at fault."""
    try:
        parsed = parse_row(row)
        return parsed if isinstance(parsed, Problem) else _to_problem(parsed, row)
    except UsageError as error:
        raise UsageError(f"{row.where}: {error}") from error


def parse_row(row: SourceRow) -> Problem | ProblemRow:
    """A row of the wire format as its problem, any other as a flat one, which may lack what judges.

    Raises UsageError that names the key which is unknown, missing or of the wrong type.
    """
    data, is_table = _unwrap(row.data, is_table=row.is_table)
    if "oracle" in data:
        return problem_from_json(data)
    data = _with_our_names(data)
    known = ProblemRow.model_fields
    if is_table:
        data = {key: value for key, value in data.items() if key in known}
    unknown = next((key for key in data if key not in known), None)
    if unknown is not None:
        nearest = difflib.get_close_matches(unknown, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
        raise UsageError(f"the problem has the unknown key {unknown!r}; {hint}")
    if "prompt" not in data:
        raise UsageError("the problem lacks the key 'prompt'; add it")
    try:
        return ProblemRow.model_validate(data)
    except ValidationError as error:
        worst = max(error.errors(), key=lambda found: len(found["loc"]))  # of a union, the member that came closest
        key = ".".join(str(part) for part in worst["loc"] if part not in ("str", "list[Message]"))
        raise UsageError(f"the key {key!r}: {worst['msg']}; got {worst['input']!r:.80}") from error


def _unwrap(data: Any, *, is_table: bool) -> tuple[dict[str, Any], bool]:
    """The row inside TRL's or verl's, and whether what surrounds it may hold columns that we do not know."""
    if not isinstance(data, dict):
        raise UsageError(f"a problem must be an object, got {data!r:.60}")
    if "problem" in data and "oracle" not in data:
        return _unwrap(_json_object(data["problem"], "problem"), is_table=False)
    if "reward_model" not in data:
        return data, is_table
    reward_model = data["reward_model"]
    truth = reward_model.get("ground_truth") if isinstance(reward_model, dict) else None
    if truth is None:
        raise UsageError(f"the key 'reward_model' must be an object with ground_truth, got {reward_model!r:.60}")
    extra = data.get("extra_info", {})
    if not isinstance(extra, dict):
        raise UsageError(f"the key 'extra_info' must be an object, got {extra!r:.60}")
    inner = truth if isinstance(truth, dict) else _object_or_golden(truth)
    if "oracle" in inner:
        return inner, False
    outer = {"source": data.get("data_source", ""), "family": data.get("ability", "")}
    outer |= {key: value for key, value in data.items() if key in ("problem_id", "prompt")} | extra
    return outer | inner, True


def _json_object(value: Any, key: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise UsageError(f"the key {key!r} is no JSON ({error.msg}, column {error.colno})") from error


def _object_or_golden(truth: Any) -> dict[str, Any]:
    try:
        value = json.loads(truth)
    except (json.JSONDecodeError, TypeError):
        value = None
    return value if isinstance(value, dict) else {"solution": truth}


def _with_our_names(data: dict[str, Any]) -> dict[str, Any]:
    """The row by our names. A golden under another's name is an answer as a model gives it: the code is taken out."""
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        ours = _ALIASES.get(key, key)
        if ours in renamed or (ours != key and ours in data):
            raise UsageError(f"the key {key!r} says {ours!r} once more; keep one of them")
        renamed[ours] = _golden_in(key, value, data) if ours == "golden" and key != ours else value
    return renamed


def _golden_in(key: str, value: Any, data: dict[str, Any]) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    if not isinstance(value, str):
        raise UsageError(f"the key {key!r} must be text or chat messages, got {value!r:.60}")
    candidate = extract(value, str(data.get("top_module", "")))
    if candidate is None:
        raise UsageError(f"the key {key!r} holds no Verilog module, got {value!r:.60}")
    return candidate.text


def _to_problem(row: ProblemRow, place: SourceRow) -> Problem:
    if row.testbench is not None and row.cocotb is not None:
        raise UsageError("the problem has 'testbench' and 'cocotb'; keep one of them")
    if row.golden is None and row.testbench is None and row.cocotb is None:
        raise UsageError(f"the problem lacks what judges an answer; give one of {', '.join(_ORACLE_KEYS)}")
    golden_top = row.golden_top
    if row.golden is not None and golden_top is None:
        golden_top = _root_of(row.golden, row.top_module)
    top_module = row.top_module or golden_top
    if top_module is None:
        raise UsageError("the problem lacks the key 'top_module', and there is no golden to read it off; add it")
    if row.testbench is not None and row.golden is None and row.ports is None:
        raise UsageError("the problem lacks the key 'ports', and there is no golden to read them off; add it")
    document = {
        "problem_id": row.problem_id or place.default_id,
        "source": row.source or "jsonl",
        "prompt": row.prompt_text,
        "top_module": top_module,
        "ports": None if row.ports is None else [port.model_dump() for port in row.ports],
        "oracle": _oracle(row, golden_top),
        "family": row.family,
        "difficulty": row.difficulty,
    }
    return problem_from_json(document)


def _oracle(row: ProblemRow, golden_top: str | None) -> dict[str, Any]:
    golden = {
        "golden": row.golden,
        "golden_top": golden_top,
        "protocol": None if row.protocol is None else row.protocol.model_dump(),
    }
    files = [list(item) for item in row.files.items()]
    if row.testbench is not None:
        rule = row.rule or _rule_of(row.testbench)
        own = {"testbench": row.testbench, "rule": rule, "top": row.testbench_top, "files": files}
        return {"kind": "testbench", **own, **golden}
    if row.cocotb is not None:
        own = {"test_source": row.cocotb, "simulator": row.simulator, "is_trusted": row.is_trusted, "files": files}
        return {"kind": "cocotb", **own, **golden}
    return {"kind": "reference", **golden}


def _root_of(golden: str, wanted: str | None) -> str:
    """The golden's top module: the one with the answer's name, or else its only root."""
    roots = [top.name for top in elaborate(parse(golden)).getRoot().topInstances]
    if wanted in roots:
        return str(wanted)
    if len(roots) != 1:
        found = ", ".join(roots) if roots else "none"
        raise UsageError(f"the golden has no single root module (found: {found}); say which with golden_top")
    return roots[0]


def _rule_of(testbench: str) -> PassRule:
    rules = [rule for rule, text in _RULE_TEXTS.items() if text in testbench]
    if len(rules) != 1:
        raise UsageError(f"the problem lacks the key 'rule', which the testbench's texts do not tell; {_rule_help()}")
    return rules[0]


def _rule_help() -> str:
    return "give " + " or ".join(f"{rule} (it prints '{text}')" for rule, text in _RULE_TEXTS.items())
