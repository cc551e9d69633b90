"""What a model is asked on each benchmark: the words and the form of the benchmark's own scripts, where it has some.

VerilogEval's system lines, instructions and rules are those of github.com/NVlabs/verilog-eval (scripts/sv-generate,
MIT) and of its first paper (arXiv 2309.07544); its worked examples are read from the user's checkout. RTLLM's
descriptions bring their own lead-in. Other problems are asked as a policy is trained on them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hdl_bench.scored import ScoredBenchmark
from hdl_bench.text_files import read_text
from hdl_bench.types import Chat, Prompt
from toolchain.errors import UsageError
from verifiers.types import Problem

MAX_SHOTS = 4

_SPEC_SYSTEM = "\nYou are a Verilog RTL designer that only writes code using correct Verilog syntax.\n"
_COMPLETE_SYSTEM = (
    "\nYou only complete chats with syntax correct Verilog code. End the Verilog module code completion with"
    " 'endmodule'. Do not include module, input and output definitions.\n"
)
_COMPLETE_LEAD_IN = (
    "\n// Implement the Verilog module based on the following description."
    " Assume that signals are positive clock/clk triggered unless otherwise stated.\n"
)
_MARKS = """
Enclose your code with [BEGIN] and [DONE]. Only output the code snippet
and do NOT output anything else.
"""
_RULES = """
Here are some additional rules and coding conventions.

 - Declare all ports and signals as logic; do not to use wire or reg.

 - For combinational logic with an always block do not explicitly specify
   the sensitivity list; instead use always @(*).

 - All sized numeric constants must have a size greater than zero
   (e.g, 0'b0 is not a valid expression).

 - An always block must read at least one signal otherwise it will never
   be executed; use an assign statement instead of an always block in
   situations where there is no need to read any signals.

 - if the module uses a synchronous reset signal, this means the reset
   signal is sampled with respect to the clock. When implementing a
   synchronous reset signal, do not include posedge reset in the
   sensitivity list of any sequential always block.
"""
_V1_LEAD_IN = (
    "Implement the Verilog module based on the following description."
    " Assume that signals are positive clock/clk edge triggered unless otherwise stated."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptOptions:
    """How to ask. `is_chat`: a model that is talked to, else one that goes on from a text."""

    is_chat: bool = True
    num_shots: int = 0
    has_rules: bool = False


def make_prompts(
    benchmark: ScoredBenchmark, problem_ids: Iterable[str], root: Path, options: PromptOptions
) -> dict[str, Prompt]:
    """The prompts of problems, by problem_id. `root` is the checkout that the benchmark was read from.

    Raises UsageError for shots or rules that the benchmark does not have, and for a checkout without the examples.
    """
    ask = _ASKERS.get(benchmark.name, _ask_as_trained)
    if options.num_shots and ask not in (_ask_spec, _ask_complete):
        raise UsageError(f"{benchmark.name} has no worked examples; got --shots {options.num_shots}: leave it out")
    if options.has_rules and ask is not _ask_spec:
        raise UsageError(f"{benchmark.name} has no rules of its own; leave out --rules")
    return {name: ask(benchmark.problems[name], root, options) for name in problem_ids}


def prompt_sha256(prompt: object) -> str:
    """Hex digest of a prompt as it is sent: of a text itself, of anything else as compact JSON."""
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _ask_spec(problem: Problem, root: Path, options: PromptOptions) -> Prompt:
    description = read_text(root / "dataset_spec-to-rtl" / f"{problem.problem_id}_prompt.txt")
    user = _examples(root, "spec-to-rtl", options.num_shots)
    user += f"\nQuestion:\n{description.strip()}\n{_RULES if options.has_rules else ''}"
    user = f"{user.rstrip()}\n{_MARKS}\nAnswer:\n"
    return _framed(_SPEC_SYSTEM, user, options)


def _ask_complete(problem: Problem, root: Path, options: PromptOptions) -> Prompt:
    task = "code-complete-iccad2023"
    description = read_text(root / f"dataset_{task}" / f"{problem.problem_id}_prompt.txt")
    lines: list[str] = []
    has_header = False
    for line in description.splitlines():
        if "module TopModule" in line:
            has_header = True
            lines.append("")
        lines.append(line if has_header else f"// {line}")
    user = _examples(root, task, options.num_shots) + _COMPLETE_LEAD_IN + "\n".join(lines)
    return _framed(_COMPLETE_SYSTEM, user, options)


def _ask_v1(problem: Problem, root: Path, options: PromptOptions) -> Prompt:
    """The problem's prompt is the description in comments, then the header; the paper asks without the comments."""
    comments, start, header = problem.prompt.partition(f"module {problem.top_module}")
    lines = [line.removeprefix("//").removeprefix(" ") for line in comments.strip().splitlines()]
    description = "\n".join(lines).strip()
    return _framed(
        _COMPLETE_SYSTEM.strip("\n"), f"{_V1_LEAD_IN}\n\n{description}\n\n{start}{header.rstrip()}\n", options
    )


def _ask_as_it_is(problem: Problem, root: Path, options: PromptOptions) -> Prompt:
    return _framed("", problem.prompt, options)


def _ask_as_trained(problem: Problem, root: Path, options: PromptOptions) -> Prompt:
    """As `earl.policy.PromptEncoder` puts it in training."""
    return Chat(system="", user=problem.prompt) if options.is_chat else problem.prompt.strip("\n") + "\n\n"


_ASKERS: dict[str, Callable[[Problem, Path, PromptOptions], Prompt]] = {
    "verilog-eval-v2-spec": _ask_spec,
    "verilog-eval-v2-complete": _ask_complete,
    "verilog-eval-v1-human": _ask_v1,
    "verilog-eval-v1-machine": _ask_v1,
    "rtllm-v1.1": _ask_as_it_is,
    "rtllm-v2": _ask_as_it_is,
}


def _framed(system: str, user: str, options: PromptOptions) -> Prompt:
    """For a model that only goes on from a text, the system line stands in front of it."""
    if options.is_chat:
        return Chat(system=system, user=user)
    return f"{system}\n{user}" if system else user


def _examples(root: Path, task: str, num_shots: int) -> str:
    if num_shots == 0:
        return ""
    path = root / "scripts" / f"verilog-example-prefix_{task}_{num_shots}-shot.txt"
    if not path.is_file():
        raise UsageError(
            f"{path} is missing: --shots {num_shots} needs the checkout's worked examples (1 to {MAX_SHOTS})"
        )
    return read_text(path)
