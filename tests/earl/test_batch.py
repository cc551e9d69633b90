"""From rollouts to packed batches: token classes, groups, slices, journal, data order."""

import json

import torch
from hypothesis import given
from hypothesis import strategies as st
from packed import packed_batch

from earl.batch import pack, response_sums, select_responses, slice_groups, spread
from earl.journal import VerdictJournal, judgement_key
from earl.problem_stream import ProblemStream
from earl.token_class import CLASSES, suspect_tokens, token_classes, token_spans
from earl.types import Reward, Rollout, RolloutGroup
from hdl_bench.types import Completion
from verifiers.judgement import Judgement
from verifiers.types import Candidate, Outcome, Problem, ReferenceOracle, Stage, Verdict

PROBLEM = Problem(
    problem_id="p",
    source="test",
    prompt="x",
    top_module="TopModule",
    ports=None,
    oracle=ReferenceOracle(golden="", golden_top="TopModule"),
)
VERDICT = Verdict(outcome=Outcome.MISMATCH, stage=Stage.COMPARE, seed=1)


def _completion(encoder, text, *, is_stopped=True):
    ids = encoder.encode_completion(text) if is_stopped else encoder.encode_completion(text)[:-1]
    values = tuple(float(number) for number in range(len(ids)))
    return Completion(
        prompt_token_ids=(1, 2),
        token_ids=tuple(ids),
        logprobs=values,
        entropies=values,
        text=text,
        finish_reason="stop" if is_stopped else "length",
    )


def _rollout(encoder, text, reward=0.0):
    return Rollout(
        problem_id="p",
        completion=_completion(encoder, text),
        candidate=Candidate(text=text),
        verdict=VERDICT,
        reward=Reward(value=reward, parts={}),
    )


def test_tokens_take_the_class_of_the_lexeme_that_holds_their_first_letter(tiny_encoder):
    text = "Here: module t; // no\nassign y = 8'd3;"
    start = text.index("module")
    completion = _completion(tiny_encoder, text)
    names = [
        CLASSES[i] for i in token_classes(tiny_encoder, completion, Candidate(text=text[start:], start_offset=start))
    ]
    spans = token_spans(tiny_encoder, completion.token_ids, text)
    seen = {}
    for (begin, end), name in zip(spans, names, strict=True):
        seen.setdefault(text[begin:end].strip(), set()).add(name)
    at = {begin: name for (begin, end), name in zip(spans, names, strict=True)}
    assert names[-1] == "stop"
    assert names[0] == "prose"
    first_of = lambda word: at[max(b for b in at if b <= text.index(word))]  # noqa: E731
    assert first_of("module") in ("keyword", "whitespace")
    assert first_of("8'd3") in ("number", "whitespace")
    assert first_of("// no") in ("comment", "whitespace")


@given(st.text(max_size=60))
def test_spans_tile_any_text(text):
    from tiny import build_tiny_tokenizer

    from earl.policy import PromptEncoder

    encoder = PromptEncoder(tokenizer=_tokenizer(build_tiny_tokenizer), template="plain", max_tokens=512)
    ids = encoder.encode_completion(text)
    decoded = encoder.decode(ids[:-1])
    spans = token_spans(encoder, tuple(ids), decoded)
    assert len(spans) == len(ids)
    assert spans[-1] == (len(decoded), len(decoded))
    assert [begin for begin, _ in spans[1:]] == [end for _, end in spans[:-1]]


_CACHE = {}


def _tokenizer(build):
    if "tokenizer" not in _CACHE:
        _CACHE["tokenizer"] = build()
    return _CACHE["tokenizer"]


def _marked(encoder, text, candidate, lines):
    """The text of the tokens that are suspect."""
    completion = _completion(encoder, text)
    spans = token_spans(encoder, completion.token_ids, text)
    marks = suspect_tokens(spans, text, candidate, lines)
    return "".join(text[start:end] for (start, end), is_marked in zip(spans, marks, strict=True) if is_marked)


def test_suspect_lines_of_the_candidate_are_found_in_the_completion(tiny_encoder):
    text = "Here:\nmodule t;\nassign y = a;\r\nassign z = b;\nendmodule"
    start = text.index("module")
    candidate = Candidate(text=text[start:], start_offset=start)
    # A token that begins with a line break belongs to the line of its first visible character.
    assert _marked(tiny_encoder, text, candidate, (2,)).strip() == "assign y = a;"
    assert _marked(tiny_encoder, text, candidate, (1, 4)).split() == ["module", "t;", "endmodule"]
    header = "module helper; endmodule\n"
    shifted = Candidate(text=header + text[start:], start_offset=start, header_length=len(header))
    assert _marked(tiny_encoder, text, shifted, (1, 3)).strip() == "assign y = a;"  # the header is not in this place
    assert _marked(tiny_encoder, text, None, (2,)) == _marked(tiny_encoder, text, candidate, ()) == ""


def test_chosen_responses_make_a_batch_of_their_own():
    batch = packed_batch([1, 2, 1, 3], group_ids=[0, 0, 1, 2], entropies=[float(n) for n in range(7)])
    part = select_responses(batch, torch.tensor([False, True, False, True]))
    assert part.row_offsets.tolist() == [0, 2, 5]
    assert part.group_ids.tolist() == [0, 1]  # numbered anew
    assert part.entropies.tolist() == [1, 2, 4, 5, 6]
    assert part.reference_logprobs is None


def test_packing_and_slicing_keep_responses_apart(tiny_encoder):
    groups = [
        RolloutGroup(problem=PROBLEM, rollouts=(_rollout(tiny_encoder, "assign"), _rollout(tiny_encoder, "if"))),
        RolloutGroup(problem=PROBLEM, rollouts=(_rollout(tiny_encoder, "q <= d"), _rollout(tiny_encoder, "end"))),
    ]
    batch = pack(groups, tiny_encoder)
    assert batch.group_ids.tolist() == [0, 0, 1, 1]
    part, tokens = slice_groups(batch, 1, 2)
    assert part.group_ids.tolist() == [0, 0]
    assert part.token_ids.tolist() == [t for r in groups[1].rollouts for t in r.completion.token_ids]
    assert torch.equal(batch.token_ids[tokens], part.token_ids)
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert torch.equal(response_sums(spread(values, batch), batch), (values * batch.lengths).double())


def test_an_epoch_sees_every_problem_once_and_the_next_in_another_order():
    problems = tuple(range(12))
    stream = ProblemStream(problems=problems, batch_size=4, seed=3)
    epochs = [[stream.batch(step) for step in range(1 + 3 * e, 4 + 3 * e)] for e in range(2)]
    orders = [[p for batch, _ in epoch for p in batch] for epoch in epochs]
    assert [sorted(order) for order in orders] == [list(problems)] * 2
    assert orders[0] != orders[1]
    assert [{number for _, number in epoch} for epoch in epochs] == [{0}, {1}]


def test_journal_reads_back_what_was_written_and_drops_a_torn_line(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    key = judgement_key(PROBLEM, "text \ud800", (5,))
    judgement = Judgement(candidate=Candidate(text="x"), verdict=VERDICT)
    journal = VerdictJournal(path)
    journal.put(key, judgement)
    journal.put(
        "ours", Judgement(candidate=None, verdict=Verdict(outcome=Outcome.TOOL_ERROR, stage=Stage.SCREEN, seed=1))
    )
    journal.close()
    whole = path.read_text()
    assert [json.loads(line)["key"] for line in whole.splitlines()] == [key]
    path.write_text(whole + '{"key": "torn')
    again = VerdictJournal(path)
    assert again.get(key) == judgement
    assert again.get("torn") is None
    again.close()
    assert path.read_text() == whole
