"""Rules on a candidate's raw text, checked before any preprocessor reads it.

A candidate must have one reading: what pyslang screens has to be what the simulator compiles. So nothing may depend on
the tool (conditionals on names that tools predefine), reach other files (`include), leak into the harness behind it
(`begin_keywords, `unconnected_drive), or be lexed in two ways (escaped names, continued or nested-bomb macros, bare
carriage returns). Works on lexemes; what macros expand to is screened on the syntax tree.
"""

import re
from dataclasses import dataclass, field

from toolchain.diagnostics import Diagnostic
from verifiers.lexer import Lexeme, LexemeKind, lex

MAX_LEXEMES = 20_000  # after macro expansion; also keeps native parsers far from their stack limits
SIZE_CODE = "size"  # of the finding that a text is too large: no construct of it is at fault
_CONDITIONALS = frozenset(("`ifdef", "`ifndef", "`elsif"))
_PLAIN_DIRECTIVES = frozenset(
    ("`else", "`endif", "`undef", "`timescale", "`default_nettype", "`resetall", "`celldefine", "`endcelldefine")
)
_TOOL_MACROS = frozenset(
    ("SYNTHESIS", "SIMULATION", "SYSTEMVERILOG", "FORMAL", "VERILATOR", "YOSYS", "ICARUS", "IVERILOG", "VCS", "SLANG")
)
_ALLOWED_CONTROL = frozenset("\t\n\r")
_HARMLESS = re.compile(r"[ -\[\]-_a-~\t\n]*")  # ASCII without back-tick, backslash and carriage return


@dataclass(slots=True)
class _Reader:
    """State of one pass over the lexemes of a text."""

    text: str
    lexemes: list[Lexeme]
    findings: list[Diagnostic] = field(default_factory=list)
    macro_sizes: dict[str, int] = field(default_factory=dict)  # name -> lexemes of its full expansion
    num_expanded: int = 0

    def word(self, index: int) -> str:
        return self.text[self.lexemes[index].start : self.lexemes[index].end] if index < len(self.lexemes) else ""

    def refuse(self, offset: int, message: str, code: str = "text-rule") -> None:
        line = self.text.count("\n", 0, offset) + 1
        self.findings.append(Diagnostic(message=message, code=code, line=line))


def check_text(text: str) -> tuple[Diagnostic, ...]:
    """What in the raw text no candidate may hold, in text order; empty when clean. Never raises."""
    if len(text) <= MAX_LEXEMES and _HARMLESS.fullmatch(text):
        return ()  # every rule below is about a character that is not there, or about size
    control = _find_control_character(text)
    if control is not None:
        return (control,)
    reader = _Reader(text=text, lexemes=lex(text))
    index = 0
    while index < len(reader.lexemes) and not reader.findings:
        index = _check_lexeme(reader, index)
        if reader.num_expanded > MAX_LEXEMES:
            message = f"the design has more than {MAX_LEXEMES} lexemes; make it smaller"
            reader.refuse(reader.lexemes[index - 1].start, message, SIZE_CODE)
    _check_conditionals(reader)
    return tuple(reader.findings)


def _find_control_character(text: str) -> Diagnostic | None:
    previous = ""
    for offset, char in enumerate(text):
        is_bare_return = previous == "\r" and char != "\n"
        is_control = char < " " and char not in _ALLOWED_CONTROL
        if is_bare_return or is_control or char in "\x7f\x85\u2028\u2029" or "\ud800" <= char <= "\udfff":
            line = text.count("\n", 0, offset) + 1
            shown = "a carriage return without a line feed" if is_bare_return else f"the character U+{ord(char):04X}"
            return Diagnostic(message=f"{shown} is not allowed in a design", code="text-rule", line=line)
        previous = char
    return None


def _check_lexeme(reader: _Reader, index: int) -> int:
    """Judge the lexeme at `index`; the index to go on from."""
    lexeme, word = reader.lexemes[index], reader.word(index)
    match lexeme.kind:
        case LexemeKind.WHITESPACE | LexemeKind.COMMENT:
            return index + 1
        case LexemeKind.DIRECTIVE:
            return _check_directive(reader, index, word)
        case LexemeKind.STRING:
            if "\\" in word or "`" in word:
                reader.refuse(lexeme.start, "a string with a backslash or a back-tick is not allowed; use plain text")
        case LexemeKind.IDENTIFIER if word.startswith("\\"):
            reader.refuse(lexeme.start, f"the escaped identifier '{word}' is not allowed; use a plain name")
        case LexemeKind.OTHER if word in "`\\":
            reader.refuse(lexeme.start, f"a lone '{word}' is not allowed; remove it")
        case LexemeKind.OTHER if not word.isascii():
            reader.refuse(lexeme.start, f"'{word}' is not ASCII; outside comments only ASCII is allowed")
    reader.num_expanded += 1
    return index + 1


def _check_directive(reader: _Reader, index: int, word: str) -> int:
    start = reader.lexemes[index].start
    if word == "`define":
        return _check_define(reader, index)
    if word in _CONDITIONALS or word in _PLAIN_DIRECTIVES:
        return index + 1
    if word[1:] in reader.macro_sizes:
        reader.num_expanded += reader.macro_sizes[word[1:]]
        return index + 1
    reader.refuse(start, f"'{word}' is neither an allowed directive nor a macro defined above; write the code out")
    return index + 1


def _check_define(reader: _Reader, index: int) -> int:
    """A plain object macro on one line: defined once, of lexemes and macros defined above it (so no recursion)."""
    start = reader.lexemes[index].start
    name = reader.word(index + 2)
    line_end = reader.text.find("\n", start)
    line_end = len(reader.text) if line_end < 0 else line_end
    if not name.isidentifier() or _is_tool_macro(name):
        reader.refuse(start, f"`define of '{name}' is not allowed; define a plain name that no tool predefines")
    elif name in reader.macro_sizes:
        reader.refuse(start, f"the macro '{name}' is defined twice; give each macro one definition")
    elif reader.word(index + 3) == "(" or "\\" in reader.text[start:line_end]:
        reader.refuse(start, f"the macro '{name}' has arguments or several lines; use a function or a localparam")
    size, position = 0, index + 3
    while position < len(reader.lexemes) and reader.lexemes[position].start < line_end:
        lexeme, word = reader.lexemes[position], reader.word(position)
        if lexeme.kind is LexemeKind.DIRECTIVE and word[1:] in reader.macro_sizes:
            size += reader.macro_sizes[word[1:]]
        elif lexeme.kind in (LexemeKind.DIRECTIVE, LexemeKind.STRING, LexemeKind.OTHER) or lexeme.end > line_end + 1:
            if lexeme.kind is not LexemeKind.WHITESPACE:
                reader.refuse(
                    lexeme.start, f"the macro '{name}' holds {word[:20]!r}; only plain code on one line is allowed"
                )
        elif lexeme.kind not in (LexemeKind.WHITESPACE, LexemeKind.COMMENT):
            size += 1
        position += 1
    reader.macro_sizes[name] = size
    return position


def _check_conditionals(reader: _Reader) -> None:
    """`ifdef and its kin may ask only for macros that the text itself defines: any other answer depends on the tool."""
    for index, lexeme in enumerate(reader.lexemes):
        if lexeme.kind is LexemeKind.DIRECTIVE and reader.word(index) in _CONDITIONALS:
            name = reader.word(index + 2)
            if name not in reader.macro_sizes:
                reader.refuse(
                    lexeme.start, f"'{reader.word(index)} {name}' depends on the tool; keep one of the branches"
                )


def _is_tool_macro(name: str) -> bool:
    return name.startswith(("__", "SV_COV_", "COCOTB")) or name.upper() in _TOOL_MACROS
