"""Overlap of training items with protected problems: each reason by hand, and what must hold of any text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdl_bench.overlap import Item, Overlap, Protected, Reason, golden_grams, prompt_grams, tokens_of, words_of

COUNTER = """I would like you to implement a module named TopModule with the following interface. The module should
implement a decade counter that counts from 0 through 9, inclusive, with a period of 10. The reset input is active high
synchronous, and should reset the counter to 0. We want to be able to pause the counter rather than always incrementing
every clock cycle."""
MUX = """I would like you to implement a module named TopModule with the following interface. The module should
implement a 2-to-1 multiplexer for one-bit signals: when sel is 0, choose a; when sel is 1, choose b. There is no clock,
so the output follows the inputs at once."""
GOLDEN = "module TopModule(input clk, input reset, input en, output reg [3:0] q);\n" + (
    "  always @(posedge clk) if (reset) q <= 4'd0; else if (en) q <= q == 4'd9 ? 4'd0 : q + 4'd1;\nendmodule\n"
)
SHIFTER = "module TopModule(input clk, input reset, input en, output reg [3:0] q);\n" + (
    "  always @(posedge clk) if (reset) q <= 4'd0; else if (en) q <= {q[2:0], q[3] ^ q[2]};\nendmodule\n"
)


def overlaps(prompt: str, golden: str = "", **options) -> list[Overlap]:
    items = [Item(item_id="counter", prompt=COUNTER, golden=GOLDEN), Item(item_id="mux", prompt=MUX)]
    return Protected([("bench", items)], **options).overlaps(Item(item_id="mine", prompt=prompt, golden=golden))


def reasons(prompt: str, golden: str = "", **options) -> list[tuple[str, Reason]]:
    return [(overlap.problem_id, overlap.reason) for overlap in overlaps(prompt, golden, **options)]


def test_a_golden_with_other_names_is_found_whatever_the_prompt_says():
    text = GOLDEN.replace("clk", "clock").replace("reset", "r").replace("q", "count").replace("TopModule", "decade")
    assert reasons("Write a thing.", text) == [("counter", Reason.GOLDEN_EQUAL)]


def test_a_prompt_in_other_case_and_layout_is_equal():
    assert reasons(COUNTER.upper().replace(" ", "\n  ")) == [("counter", Reason.PROMPT_EQUAL)]


def test_a_prompt_with_a_sentence_in_front_is_found_by_its_ngrams_with_their_part():
    [found] = overlaps("Please read this with care. " + COUNTER)
    assert (found.item_id, found.benchmark, found.problem_id) == ("mine", "bench", "counter")
    assert (found.reason, found.score) == (Reason.PROMPT_NGRAMS, 1.0)


def test_the_score_is_the_part_of_the_shorter_texts_ngrams_that_both_have():
    words = [f"w{number}" for number in range(30)]
    mine = " ".join(words[:20] + [f"other{number}" for number in range(40)])
    protected = Protected([("bench", [Item(item_id="p", prompt=" ".join(words))])], min_containment=0.5)
    [found] = protected.overlaps(Item(item_id="mine", prompt=mine))
    assert found.score == pytest.approx(13 / 23)  # 20 words in common have 13 8-grams; the shorter text has 23


def test_another_design_in_the_same_words_is_not_found():
    words = COUNTER.split()
    shuffled = " ".join(sorted(words))
    assert reasons(shuffled, SHIFTER) == []
    assert reasons(MUX.split(":")[0] + ": the output is the exclusive or of the inputs.", SHIFTER) == []


def test_a_renamed_golden_with_one_line_added_is_found_by_its_tokens():
    text = GOLDEN.replace("endmodule", "  wire spare = en & reset & clk;\nendmodule")
    text = text.replace("reset", "clear").replace("q", "count").replace("TopModule", "decade")
    assert reasons("Write a thing.", text) == [("counter", Reason.GOLDEN_NGRAMS)]
    assert reasons("Write a thing.", SHIFTER) == []


def test_without_containment_only_equality_counts():
    assert reasons("Please. " + COUNTER, min_containment=None) == []
    assert reasons(COUNTER, min_containment=None) == [("counter", Reason.PROMPT_EQUAL)]


def test_phrases_that_many_problems_of_a_benchmark_share_are_no_evidence():
    phrase = " ".join(f"boilerplate{number}" for number in range(40))
    items = [Item(item_id=f"p{number}", prompt=f"{phrase} task number {number}") for number in range(30)]
    mine = Item(item_id="mine", prompt=f"{phrase} something else")
    assert Protected([("bench", items)]).overlaps(mine) == []
    assert [found.problem_id for found in Protected([("bench", items[:2])]).overlaps(mine)] == ["p0", "p1"]


def test_one_problem_in_several_benchmarks_is_no_common_phrase():
    item = Item(item_id="counter", prompt=COUNTER)
    protected = Protected([(f"bench{number}", [item]) for number in range(6)])
    found = protected.overlaps(Item(item_id="mine", prompt="Please. " + COUNTER))
    assert [overlap.benchmark for overlap in found] == [f"bench{number}" for number in range(6)]


def test_the_closest_comes_first():
    items = [Item(item_id="same words", prompt=COUNTER), Item(item_id="same design", prompt="x", golden=GOLDEN)]
    found = Protected([("bench", items)]).overlaps(Item(item_id="mine", prompt=COUNTER, golden=GOLDEN))
    assert [overlap.problem_id for overlap in found] == ["same design", "same words"]


def test_ngrams_words_and_tokens_by_hand():
    assert words_of("Count to 4'd9, OK?") == ("count", "to", "4", "'", "d9", ",", "ok", "?")
    assert tokens_of('a <= 4\'d9; // "note"\n$display("//"); /* x */ b') == (
        *("a", "<=", "4'd9", ";", "$display", "("),
        *('"', "/", "/", '"', ")", ";", "b"),
    )
    nine = tuple("abcabcabc")
    assert prompt_grams(nine) == {nine[:8], nine[1:]}
    assert prompt_grams(nine[:7]) == set()


def test_golden_ngrams_leave_headers_out_and_count_names_by_their_distance():
    tokens = tokens_of("module m(input a, output y); assign y = a & ~(a | b); assign z = y;")
    expected = (";", "assign", "#", "=", "#", "&", "~", "(", "#4", "|", "#", ")", ";", "assign", "#", "=", "#14", ";")
    assert golden_grams(tokens) == {expected[:16], expected[1:17], expected[2:]}


@settings(max_examples=100, deadline=None)
@given(prompt=st.text(max_size=200), golden=st.text(max_size=200))
def test_an_item_with_any_word_overlaps_itself(prompt, golden):
    item = Item(item_id="it", prompt=prompt, golden=golden)
    found = Protected([("bench", [item])]).overlaps(item)
    assert [overlap.problem_id for overlap in found] == (["it"] if words_of(prompt) or tokens_of(golden) else [])
