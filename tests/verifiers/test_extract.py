"""Extraction: each rule on a small completion, and exact offsets on any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.extract import answer_text, extract

TOP = "module TopModule(input a, output y);\n  assign y = a;\nendmodule\n"
HELPER = "module helper(input a, output y);\n  assign y = ~a;\nendmodule\n"
USER = "module TopModule(input a, output y);\n  helper h(.a(a), .y(y));\nendmodule\n"
MARKS = "<think>|</think>|</thinking>|<answer>|</answer>"
PIECE_TEXT = MARKS + "|[BEGIN]|[DONE]|```|```verilog\n|\n```\n|~~~\n|> |- |    |prose |module x;|endmodule"
PIECES = st.sampled_from([TOP, HELPER, USER, "\n", "\r\n", "\r", "\x00", "\u2028", *PIECE_TEXT.split("|")])


def code_of(completion: str) -> str | None:
    candidate = extract(completion, "TopModule")
    return None if candidate is None else candidate.text


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (TOP, TOP),
        (f"<think>maybe {HELPER}</think>{TOP}", TOP),
        (f"reasoning that the prompt opened</think>\n{TOP}", "\n" + TOP),
        (f"<think>never closed {TOP}", None),
        (f"Sure: [BEGIN]\n{TOP}[DONE] bye", "\n" + TOP),
        (f"[BEGIN]\n{TOP}", None),
        (f"[BEGIN]\n```verilog\n{TOP}```\n[DONE]", TOP),
        (f"Here it is:\n```verilog\n{TOP}```\nIt copies a.", TOP),
        (f"~~~~ sv\n{TOP}~~~~\n", TOP),
        (f"Cut off:\n```verilog\n{TOP}", TOP),
        (f"```\nsome notes\n```\nand\n```systemverilog\n{TOP}```", TOP),
        (f"```\n{HELPER}```\n```\n{TOP}```", TOP),
        ("- in a list:\n\n  ```verilog\n  module t;\n  endmodule\n  ```\n", "  module t;\n  endmodule\n"),
        ("Use:\nmodule TopModule // a buffer\n (input a);", "Use:\nmodule TopModule // a buffer\n (input a);"),
        (f"Here is the module: {TOP}I hope it helps.", f"Here is the module: {TOP}I hope it helps."),
        ("The answer is module TopModule(input a", "The answer is module TopModule(input a"),
        (f"`timescale 1ns/1ps\n{TOP}", f"`timescale 1ns/1ps\n{TOP}"),
        (f"// a buffer\n{TOP}junk", f"// a buffer\n{TOP}junk"),
        ("I cannot write this module.", None),
        (f"<thinking>{HELPER}</thinking>\n```\n{TOP}```", TOP),
        (f"[THINK]{HELPER}[/THINK]{TOP}", TOP),
        (f"◁think▷{HELPER}◁/think▷{TOP}", TOP),
        (f"<reasoning>cut off {TOP}", None),
        (f"<think>what does </thinking> mean? {TOP}", None),
        (f"<|channel|>analysis<|message|>{HELPER}<|end|><|channel|>final<|message|>\n```\n{TOP}```", TOP),
        (f"<think>a</think>\n<answer>\n```verilog\n{TOP}```\n</answer>", TOP),
        (f"<answer>{TOP}</answer>", TOP),
        (f"<answer>{TOP}", None),
        (f"[BEGIN]\n{TOP}[DONE]\n\nQuestion: next\n[BEGIN]\n{HELPER}[DONE]", "\n" + TOP),
        (f"{TOP}<|end|>", f"{TOP}<|end|>"),
        ("", None),
        ("```verilog\nassign y = a;\n```", None),
    ],
)
def test_each_rule_takes_its_part(completion, expected):
    assert code_of(completion) == expected


def test_the_start_offset_points_at_the_code_in_the_completion():
    completion = f"Here:\n```verilog\n{TOP}```\n"
    candidate = extract(completion, "TopModule")
    assert candidate.start_offset == len("Here:\n```verilog\n")
    assert candidate.header_length == 0


def test_helper_modules_in_other_blocks_are_put_in_front():
    completion = f"```\n{USER}```\nwhere\n```\n{HELPER}```\n"
    candidate = extract(completion, "TopModule")
    assert candidate.text == f"{HELPER}\n{USER}"
    assert candidate.text[candidate.header_length :] == USER
    assert candidate.start_offset == 4


def test_a_block_with_another_module_name_is_still_taken():
    assert code_of(f"```\n{HELPER}```") == HELPER


def test_the_last_definition_of_the_top_counts():
    revised = TOP.replace("= a", "= ~a")
    assert code_of(f"```\n{TOP}```\nWait, it should invert:\n```\n{revised}```\n") == revised
    usage = "module tb;\n  TopModule t();\nendmodule\n"
    assert code_of(f"```\n{TOP}```\nUse it like this:\n```\n{usage}```\n") == TOP


def test_a_later_definition_that_is_cut_off_does_not_replace_a_whole_one():
    assert code_of(f"```\n{TOP}```\nOr:\n```\nmodule TopModule(input a") == TOP


def test_the_answer_is_the_text_after_the_reasoning():
    assert answer_text("<think>a</think>b<think>c</think>d") == "d"
    assert answer_text("a</think>b") == "b"
    assert answer_text("<think>a") == ""
    assert answer_text("plain") == "plain"


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join)))
def test_the_text_is_exactly_that_of_the_completion(completion):
    candidate = extract(completion, "TopModule")
    if candidate is not None:
        own = candidate.text[candidate.header_length :]
        assert own == completion[candidate.start_offset : candidate.start_offset + len(own)]
        assert own
