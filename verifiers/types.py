"""The types that a judgement is made of: problem and oracle in, verdict out. Data only; frozen; keyword-only."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from toolchain.diagnostics import Diagnostic


class Outcome(StrEnum):
    """How a judgement ended. All but `TOOL_ERROR` are the candidate's; that one is ours and never scored."""

    PASSED = "passed"
    NO_CODE = "no_code"
    FORBIDDEN_CONSTRUCT = "forbidden_construct"
    SYNTAX_ERROR = "syntax_error"
    INTERFACE_ERROR = "interface_error"
    ELABORATION_ERROR = "elaboration_error"
    MISMATCH = "mismatch"
    TIMEOUT = "timeout"
    RESOURCE_LIMIT = "resource_limit"
    TOOL_ERROR = "tool_error"


class Stage(StrEnum):
    """The stages of the pipeline in order; a verdict names the one it ended in."""

    EXTRACT = "extract"
    SCREEN = "screen"
    INTERFACE = "interface"
    COMPILE = "compile"
    SIMULATE = "simulate"
    COMPARE = "compare"


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """A port of the top module. `direction` is "input", "output" or "inout"; `width` in bits."""

    name: str
    direction: str
    width: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """A clock input and the edges that the design acts on: "posedge", "negedge" or "both"."""

    name: str
    edge: str = "posedge"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """A reset input."""

    name: str
    is_active_high: bool = True
    is_synchronous: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """What the stimulus must know of a design. No clock means combinational (or latches: inputs change one row a time).

    `min_cycles` is for designs whose interesting behaviour starts late (a divider by 300, a debouncer).
    `rare_high` names one-bit inputs that should be high in about one cycle of sixteen (a load, a clear), `rare_low`
    the reverse (an enable whose long runs matter). `one_hot` names vector inputs that always have exactly one bit set.
    """

    clocks: tuple[Clock, ...] = ()
    resets: tuple[Reset, ...] = ()
    min_cycles: int = 0
    rare_high: tuple[str, ...] = ()
    rare_low: tuple[str, ...] = ()
    one_hot: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceOracle:
    """The golden design judges: equal outputs under our own stimulus. `protocol` None means infer it from `golden`."""

    golden: str  # Verilog source; its top module is named `golden_top`
    golden_top: str
    protocol: Protocol | None = None
    kind: Literal["reference"] = "reference"  # tells the oracles apart on the wire


class PassRule(StrEnum):
    """How a stock testbench says that a design is right."""

    MISMATCH_COUNT = "mismatch_count"  # one line `Mismatches: 0 in N samples`, N the golden's own (VerilogEval)
    BANNER = "banner"  # `===Your Design Passed===` and no failure text (RTLLM)


@dataclass(frozen=True, kw_only=True, slots=True)
class TestbenchOracle:
    """A benchmark's own testbench judges, hardened: see `verifiers.stock`.

    `files` are (name, text) of data that the testbench reads from its folder. `golden` is the module that the
    testbench instantiates beside the candidate, or a design that must pass it; with one, a pass needs our own
    testbench too. `top` None is the testbench's only root module.
    """

    __test__ = False  # for pytest: not a test class

    testbench: str
    rule: PassRule
    top: str | None = None
    golden: str | None = None
    golden_top: str | None = None
    protocol: Protocol | None = None  # of the golden, for our own testbench; None means infer it
    files: tuple[tuple[str, str], ...] = ()
    kind: Literal["testbench"] = "testbench"


@dataclass(frozen=True, kw_only=True, slots=True)
class CocotbOracle:
    """A cocotb test module judges. It is Python: only a full isolation rung may run one that is not trusted."""

    test_source: str
    is_trusted: bool = False  # written by the user, not by a model
    simulator: str = "icarus"  # or "verilator"
    golden: str | None = None
    golden_top: str | None = None
    protocol: Protocol | None = None
    files: tuple[tuple[str, str], ...] = ()
    runner: str = ""  # a pytest module in `files` whose runs are made; "": one plain run
    variables: tuple[tuple[str, str], ...] = ()  # of the environment of tests and runner
    kind: Literal["cocotb"] = "cocotb"


Oracle = ReferenceOracle | TestbenchOracle | CocotbOracle


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One design task. `prompt` is what the model reads (the body, before any chat template)."""

    problem_id: str
    source: str  # "procedural", "verilog-eval-v2-spec", a file name, ...
    prompt: str
    top_module: str
    ports: tuple[Port, ...] | None
    oracle: Oracle
    family: str = ""  # procedural family or benchmark category
    difficulty: int = 0  # 1 (easy) to 5 (hard); 0 is unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """The Verilog taken out of a completion.

    `text` is what the simulator compiles; its first `header_length` characters were put in front by us, the rest is
    the completion's text from `start_offset` on, so that a source line maps back to the tokens that wrote it.
    """

    text: str
    start_offset: int = 0
    header_length: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputScore:
    """How one output fared, over the samples in which the golden's value has a known bit.

    `constant_fraction` is what the best constant would have matched: a raw fraction is worth little without it.
    """

    name: str
    num_samples: int
    num_mismatches: int
    constant_fraction: float

    @property
    def matched_fraction(self) -> float:
        return 1.0 - self.num_mismatches / self.num_samples if self.num_samples else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstMismatch:
    """The first wrong sample, with the inputs that led there (oldest first; the last row is the failing one)."""

    row: int
    output: str
    expected: str  # binary, x for "anything"
    got: str
    inputs: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The judgement of one candidate. Equal inputs and seed give an equal verdict but for `duration_s`."""

    outcome: Outcome
    stage: Stage
    seed: int
    num_samples: int = 0
    num_mismatches: int = 0
    outputs: tuple[OutputScore, ...] = ()
    first_mismatch: FirstMismatch | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)  # tool name -> version
    isolation: str = ""  # the rung in force: "bubblewrap" or "rlimits"
    duration_s: float = 0.0
    suspect_lines: tuple[int, ...] = ()  # of the candidate's text: what feeds a wrong output (`verifiers.cone`)

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def is_scored(self) -> bool:
        """False for a failure of ours: the rollout leaves its group, it is never given a reward."""
        return self.outcome is not Outcome.TOOL_ERROR
