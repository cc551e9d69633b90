"""A verdict on a terminal: what happened, where in the source, which sample went wrong and by which bits."""

from collections import defaultdict

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from earl.printable import printable
from toolchain.diagnostics import Diagnostic
from verifiers.judgement import Judgement
from verifiers.second_opinion import Opinion, Stance
from verifiers.types import FirstMismatch, Outcome, OutputScore, Problem, Verdict

MEANINGS = {
    Outcome.PASSED: "every sample of every output equals the golden's",
    Outcome.NO_CODE: "the file holds no Verilog module",
    Outcome.FORBIDDEN_CONSTRUCT: "the code uses something that a candidate may not",
    Outcome.SYNTAX_ERROR: "the code does not parse",
    Outcome.INTERFACE_ERROR: "the top module or its ports are not the asked ones",
    Outcome.ELABORATION_ERROR: "the code parses, but no design can be built from it",
    Outcome.MISMATCH: "the design runs, but its outputs are not the golden's",
    Outcome.TIMEOUT: "the design did not come to an end in time",
    Outcome.RESOURCE_LIMIT: "the design took more memory or output than it may, or crashed the simulator",
    Outcome.TOOL_ERROR: "a failure of ours, not the candidate's: try `earl doctor`",
}
_CONTEXT_LINES = 2
_SHOWN_SUSPECTS = 40
_LONGEST_BINARY = 8  # bits; longer values are shown in hexadecimal
_SEVERITY_STYLES = {"error": "red", "warning": "yellow", "note": "cyan"}


def render_judgement(problem: Problem, judgement: Judgement, seeds: tuple[int, ...]) -> RenderableType:
    """All there is to say about one judgement. Safe for hostile candidates: no markup, no escapes."""
    verdict = judgement.verdict
    parts: list[RenderableType] = [_headline(problem, verdict, len(seeds))]
    if verdict.diagnostics:
        source = judgement.candidate.text if judgement.candidate else ""
        parts += [Text(), *_findings(source, verdict.diagnostics)]
    if verdict.first_mismatch:
        widths = {port.name: port.width for port in problem.ports or ()}
        parts += [Text(), *_first_mismatch(verdict.first_mismatch, widths)]
    if verdict.outputs:
        parts += [Text(), _output_table(verdict.outputs)]
    if verdict.suspect_lines and judgement.candidate:
        parts += [Text(), *_suspects(judgement.candidate.text, verdict.suspect_lines)]
    parts += [Text(), _footer(verdict)]
    return Group(*parts)


def render_opinion(judgement: Judgement, opinion: Opinion) -> RenderableType:
    """A second simulator's opinion, and what its lint remarks."""
    colour = {Stance.AGREES: "green", Stance.DIFFERS: "red", Stance.NO_OPINION: "yellow"}[opinion.stance]
    line = Text("\n ")
    line.append(f"second opinion {opinion.stance.value.replace('_', ' ')}", style=f"bold {colour}")
    line.append(f"  {printable(opinion.reason)}")
    if opinion.num_samples:
        line.append(f"; {opinion.num_samples:,} samples")
    tools = ", ".join(f"{name} {version}" for name, version in opinion.versions)
    source = judgement.candidate.text if judgement.candidate else ""
    return Group(line, *_findings(source, opinion.lint), Text(tools, style="dim"))


def _headline(problem: Problem, verdict: Verdict, num_seeds: int) -> Text:
    colour = "green" if verdict.passed else "yellow" if not verdict.is_scored else "red"
    line = Text()
    line.append(f" {verdict.outcome.value.upper().replace('_', ' ')} ", style=f"bold reverse {colour}")
    line.append(f"  {printable(problem.problem_id)}", style="bold")
    line.append(f"\n{MEANINGS[verdict.outcome]}; ended in stage {verdict.stage.value}")
    if verdict.num_samples:
        right = verdict.num_samples - verdict.num_mismatches
        line.append(f"; {right:,} of {verdict.num_samples:,} samples right")
        if verdict.passed and num_seeds > 1:
            line.append(f" under the last of {num_seeds} seeds")
    return line


def _findings(source: str, diagnostics: tuple[Diagnostic, ...]) -> list[RenderableType]:
    """The source around each line that a diagnostic names, with the message under it; the others as plain lines."""
    lines = source.expandtabs(4).splitlines()
    by_line: dict[int, list[Diagnostic]] = defaultdict(list)
    parts: list[RenderableType] = []
    for diagnostic in diagnostics:
        if diagnostic.line is not None and 1 <= diagnostic.line <= len(lines):
            by_line[diagnostic.line].append(diagnostic)
        else:
            parts.append(_message(diagnostic))
    if by_line:
        parts.append(_excerpt(lines, by_line))
    return parts


def _excerpt(lines: list[str], by_line: dict[int, list[Diagnostic]]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    near = {near for line in by_line for near in range(line - _CONTEXT_LINES, line + _CONTEXT_LINES + 1)}
    shown = [line for line in sorted(near) if 1 <= line <= len(lines)]
    for before, line in zip([shown[0] - 1, *shown], shown, strict=False):
        if line > before + 1:
            table.add_row("", ":", "")
        is_named = line in by_line
        table.add_row(str(line), "|", Text(printable(lines[line - 1]), style="bold" if is_named else ""))
        indent = len(lines[line - 1]) - len(lines[line - 1].lstrip())
        for diagnostic in by_line.get(line, ()):
            table.add_row("", "|", Padding(_message(diagnostic, "^ "), (0, 0, 0, min(indent, 24))))
    return table


def _message(diagnostic: Diagnostic, prefix: str = "") -> Text:
    style = _SEVERITY_STYLES.get(diagnostic.severity, "")
    text = Text(f"{prefix}{diagnostic.severity}: ", style=f"bold {style}")
    text.append(printable(diagnostic.message), style=style)
    if diagnostic.code:
        text.append(f" [{printable(diagnostic.code)}]", style="dim")
    return text


def _first_mismatch(first: FirstMismatch, widths: dict[str, int]) -> list[RenderableType]:
    """The inputs that led to the first wrong sample, one column a row of the stimulus, and the wrong bits."""
    start = first.row - len(first.inputs) + 1
    title = Text(f"First wrong sample: row {first.row} of the stimulus, output {first.output}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("row", no_wrap=True)
    for row in range(start, first.row + 1):
        style = "bold" if row == first.row else "dim"
        table.add_column(str(row), justify="right", style=style, header_style=style, no_wrap=True)
    for name in first.inputs[-1] if first.inputs else ():
        table.add_row(_with_width(name, widths), *(_value(inputs[name]) for inputs in first.inputs))
    if first.inputs:
        blank = [""] * (len(first.inputs) - 1)
        table.add_section()
        name = _with_width(first.output, widths)
        table.add_row(f"{name} expected", *blank, Text(_value(first.expected), style="green"))
        table.add_row(f"{name} got", *blank, Text(_value(first.got), style="red"))
    return [title, table, Text(), _bits(first)]


def _suspects(source: str, lines: tuple[int, ...]) -> list[RenderableType]:
    """The lines that feed a wrong output: the fault is in one of them, or in one that is missing."""
    texts = source.expandtabs(4).splitlines()
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for line in lines[:_SHOWN_SUSPECTS]:
        table.add_row(str(line), "|", Text(printable(texts[line - 1]) if line <= len(texts) else ""))
    num_code_lines = sum(bool(text.strip()) for text in texts)
    title = Text(f"Lines that feed a wrong output: {len(lines)} of {num_code_lines}", style="bold")
    hidden = len(lines) - _SHOWN_SUSPECTS
    return [title, table] if hidden <= 0 else [title, table, Text(f"and {hidden} more", style="dim")]


def _with_width(name: str, widths: dict[str, int]) -> str:
    width = widths.get(name, 1)
    return f"{name}[{width - 1}:0]" if width > 1 else name


def _value(bits: str) -> str:
    """Binary up to eight bits, else hexadecimal; a digit is x (or X) where all (or some) of its bits are unknown."""
    if len(bits) <= _LONGEST_BINARY:
        return bits
    padded = bits.rjust(-(-len(bits) // 4) * 4, bits[0] if bits[0] in "xz" else "0")
    return "h" + "".join(_hex_digit(padded[start : start + 4]) for start in range(0, len(padded), 4))


def _hex_digit(bits: str) -> str:
    if set(bits) <= {"0", "1"}:
        return f"{int(bits, 2):x}"
    return bits[0] if len(set(bits)) == 1 else "X"


def _bits(first: FirstMismatch) -> Text:
    text, marks = Text(f"expected {first.expected}   (x: anything)\ngot      "), ""
    for expected, got in zip(first.expected, first.got, strict=True):
        is_wrong = expected not in ("x", got)
        text.append(got, style="bold red" if is_wrong else "")
        marks += "^" if is_wrong else " "
    num_wrong = marks.count("^")
    noun = "bit" if num_wrong == 1 else "bits"
    return text.append(f"\n         {marks} {num_wrong} wrong {noun}", style="red")


def _output_table(outputs: tuple[OutputScore, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("output")
    for heading in ("samples", "wrong", "matched", "best constant"):
        table.add_column(heading, justify="right")
    for output in outputs:
        style = "red" if output.num_mismatches else "green"
        table.add_row(
            output.name,
            f"{output.num_samples:,}",
            Text(f"{output.num_mismatches:,}", style=style),
            Text(f"{output.matched_fraction:.1%}", style=style),
            f"{output.constant_fraction:.1%}",
        )
    return table


def _footer(verdict: Verdict) -> Text:
    tools = ", ".join(f"{name} {version}" for name, version in verdict.versions.items()) or "no tool"
    rung = verdict.isolation or "none"
    return Text(f"seed {verdict.seed}; isolation {rung}; {tools}; {verdict.duration_s:.2f} s", style="dim")
