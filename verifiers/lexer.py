"""An error-tolerant Verilog lexer: any text in, lexemes that tile it out, each with a class.

It serves half-written code (token classes for the gate) and the rules on raw text that must hold before any
preprocessor runs. It expands no macro, knows no grammar and judges nothing: an unterminated string ends with its line,
an unterminated comment with the text.

The classes, chosen so that each is a different kind of decision of the writer:
- `keyword`: structure (module, always_ff, begin, case, if, assign ...)   - `edge`: posedge, negedge, edge
- `type`: declarations (wire, logic, input, parameter, signed ...)        - `identifier`: names, also `$clog2`, `\\a+b`
- `number`: literals, sized or not                                        - `operator`: computing and assigning
- `punctuation`: brackets, `;`, `,`, `.`, `:`, `@`, `#`                   - `string`, `directive` (`` `name ``)
- `comment`, `whitespace`, and `other` for what no Verilog holds
"""

import functools
import re
from enum import StrEnum
from typing import NamedTuple


class LexemeKind(StrEnum):
    """The class of a lexeme. See the module's docstring."""

    KEYWORD = "keyword"
    EDGE = "edge"
    TYPE = "type"
    IDENTIFIER = "identifier"
    NUMBER = "number"
    OPERATOR = "operator"
    PUNCTUATION = "punctuation"
    STRING = "string"
    DIRECTIVE = "directive"
    COMMENT = "comment"
    WHITESPACE = "whitespace"
    OTHER = "other"


class Lexeme(NamedTuple):
    """One lexeme: `code[start:end]`, offsets in characters."""

    start: int
    end: int
    kind: LexemeKind


_KEYWORD_TEXT = """
    module macromodule endmodule package endpackage interface endinterface program endprogram primitive endprimitive
    table endtable function endfunction task endtask generate endgenerate class endclass specify endspecify always
    always_comb always_ff always_latch initial final assign deassign force release begin end fork join join_any
    join_none if else case casex casez endcase default for foreach forever repeat while do break continue return
    disable wait unique unique0 priority inside import export defparam bind assert assume cover property endproperty
    sequence endsequence"""
_TYPE_TEXT = """
    input output inout ref wire tri tri0 tri1 triand trior trireg uwire wand wor supply0 supply1 reg logic bit byte
    shortint int longint integer time real realtime shortreal string event void signed unsigned parameter localparam
    specparam genvar typedef enum struct union packed automatic static const var type and nand or nor xor xnor buf
    not bufif0 bufif1 notif0 notif1"""

_KEYWORDS = frozenset(_KEYWORD_TEXT.split())
_TYPES = frozenset(_TYPE_TEXT.split())
_EDGES = frozenset(("posedge", "negedge", "edge"))
RESERVED_WORDS = _KEYWORDS | _TYPES | _EDGES  # no names

_PATTERN = re.compile(
    r"""
    (?P<whitespace>\s+)
  | (?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
  | (?P<string>"(?:\\.|[^"\\\n])*"?)
  | (?P<directive>`[A-Za-z_][A-Za-z0-9_$]*)
  | (?P<number>(?:[0-9][0-9_]*[ \t]*)?'[sS]?[bBoOdDhH][ \t]*[0-9a-fA-FxXzZ?][0-9a-fA-FxXzZ?_]*
      | '[01xXzZ](?![0-9A-Za-z_])
      | [0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?(?:(?:fs|ps|ns|us|ms|s)\b)?)
  | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
  | (?P<identifier>\$[A-Za-z0-9_$]+|\\[!-~]+)
  | (?P<operator><<<=|>>>=|===|!==|==\?|!=\?|<<<|>>>|<<=|>>=|<->|\*\*|<=|>=|==|!=|&&&|&&|\|\||~&|~\||~\^|\^~
      |\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|\^=|->|<<|>>|[-+*/%&|^~!<>=?'$])
  | (?P<punctuation>\(\*(?!\s*\))|::|[][(){};,.:@\#])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


_KINDS = {kind.value: kind for kind in LexemeKind}
_NUM_KEPT, _MAX_KEPT_CHARS = 16, 1 << 15  # under 50 MB, whatever the texts


def _kind_of_word(word: str) -> LexemeKind:
    if word in _KEYWORDS:
        return LexemeKind.KEYWORD
    if word in _EDGES:
        return LexemeKind.EDGE
    if word in _TYPES:
        return LexemeKind.TYPE
    return LexemeKind.IDENTIFIER


def lex(code: str) -> tuple[Lexeme, ...]:
    """The lexemes of any text, in order. They tile it: each starts where the one before ends. Never raises."""
    return _lex(code) if len(code) > _MAX_KEPT_CHARS else _kept_lex(code)


def _lex(code: str) -> tuple[Lexeme, ...]:
    lexemes = []
    for match in _PATTERN.finditer(code):
        group = match.lastgroup
        assert group is not None
        kind = _kind_of_word(match.group()) if group == "word" else _KINDS[group]
        lexemes.append(Lexeme(*match.span(), kind))
    return tuple(lexemes)


_kept_lex = functools.lru_cache(maxsize=_NUM_KEPT)(_lex)  # several rules look at one candidate in turn


def rename_identifier(code: str, old: str, new: str) -> str:
    """`code` with the identifier `old` replaced by `new` wherever it stands as one."""
    pieces = (code[lexeme.start : lexeme.end] for lexeme in lex(code))
    return code if old == new else "".join(new if piece == old else piece for piece in pieces)
