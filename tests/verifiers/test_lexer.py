"""The lexer tiles any text and names the class of each lexeme."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.lexer import LexemeKind, lex

FRAGMENTS = st.sampled_from(
    ["module", " ", "\n", "/*", "*/", "//", '"', "`", "`define", "8'hF", "'", "(*", "\\x ", "$", "<=", "q", "[", "é"]
)


def classes(code: str) -> list[tuple[str, str]]:
    return [(code[x.start : x.end], x.kind.value) for x in lex(code) if x.kind is not LexemeKind.WHITESPACE]


@given(st.one_of(st.text(), st.lists(FRAGMENTS).map("".join)))
def test_lexemes_tile_any_text(code):
    lexemes = lex(code)
    assert "".join(code[x.start : x.end] for x in lexemes) == code
    assert all(x.start < x.end for x in lexemes)
    assert [x.end for x in lexemes[:-1]] == [x.start for x in lexemes[1:]]


def test_a_clocked_block_has_the_classes_that_the_gate_reads():
    assert classes("always @(posedge clk) q <= 8'hF0;") == [
        ("always", "keyword"),
        ("@", "punctuation"),
        ("(", "punctuation"),
        ("posedge", "edge"),
        ("clk", "identifier"),
        (")", "punctuation"),
        ("q", "identifier"),
        ("<=", "operator"),
        ("8'hF0", "number"),
        (";", "punctuation"),
    ]


@pytest.mark.parametrize(
    "literal", ["0", "1_000", "8'b1010_xz?1", "4 'd9", "'0", "'1", "32'shFF", "'bx", "1.5e-3", "10ns", "3.25"]
)
def test_a_number_is_one_lexeme(literal):
    assert classes(literal) == [(literal, "number")]


def test_an_unterminated_comment_runs_to_the_end_and_an_unterminated_string_to_the_line():
    assert classes("a /* b\nmodule") == [("a", "identifier"), ("/* b\nmodule", "comment")]
    assert classes('"ab\nmodule') == [('"ab', "string"), ("module", "keyword")]


def test_comment_marks_inside_strings_and_the_reverse_do_not_count():
    assert classes('"// no" /* "no */ x') == [('"// no"', "string"), ('/* "no */', "comment"), ("x", "identifier")]


def test_declarations_directives_and_system_names_have_their_classes():
    assert classes("`W input signed $clog2 \\a+b ") == [
        ("`W", "directive"),
        ("input", "type"),
        ("signed", "type"),
        ("$clog2", "identifier"),
        ("\\a+b", "identifier"),
    ]


def test_always_star_is_an_operator_between_brackets_not_an_attribute():
    assert [text for text, _ in classes("@(*) y=a*(b);")] == [
        "@",
        "(",
        "*",
        ")",
        "y",
        "=",
        "a",
        "*",
        "(",
        "b",
        ")",
        ";",
    ]


def test_a_half_written_number_is_a_number_and_an_operator():
    assert classes("8'") == [("8", "number"), ("'", "operator")]
