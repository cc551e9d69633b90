"""The class of each completion token: what kind of thing the policy was deciding there.

A token has the class of the lexeme that holds its first non-space character; text outside the code is prose; the stop
token is a class of its own.
"""

import bisect
import re
from collections.abc import Collection

from earl.policy import PromptEncoder
from hdl_bench.types import Completion
from verifiers.lexer import LexemeKind, lex
from verifiers.types import Candidate

PROSE, STOP = "prose", "stop"
_NEWLINE = re.compile(r"\r\n?|\n")  # as the checkers count lines
CLASSES: tuple[str, ...] = (*(kind.value for kind in LexemeKind), PROSE, STOP)


def token_spans(encoder: PromptEncoder, token_ids: tuple[int, ...], text: str) -> list[tuple[int, int]]:
    """Start and end offset in `text` of each token; the stop token, which is not in the text, is empty at its end."""
    pieces = [encoder.decode([token_id]) for token_id in token_ids]
    if token_ids and token_ids[-1] == encoder.stop_token_id:
        pieces[-1] = ""
    if "".join(pieces) == text:
        ends = _running_lengths(pieces)
    else:
        # A character spread over several tokens decodes to itself only with its last one: ask for every prefix.
        ends = [min(len(encoder.decode(list(token_ids[: n + 1]))), len(text)) for n in range(len(token_ids))]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _running_lengths(pieces: list[str]) -> list[int]:
    ends, total = [], 0
    for piece in pieces:
        total += len(piece)
        ends.append(total)
    return ends


def suspect_tokens(
    spans: list[tuple[int, int]], text: str, candidate: Candidate | None, lines: Collection[int]
) -> list[bool]:
    """Which tokens stand on `lines` (1-based, of the candidate's text): those whose first non-space character does."""
    if candidate is None or not lines:
        return [False] * len(spans)
    starts = [0, *(match.end() for match in _NEWLINE.finditer(candidate.text))]
    ends = [*starts[1:], len(candidate.text)]
    shift = candidate.start_offset - candidate.header_length
    # A line of the header was written by the policy elsewhere in its answer; it has no offset here.
    marked = [
        range(starts[line - 1] + shift, ends[line - 1] + shift)
        for line in lines
        if starts[line - 1] >= candidate.header_length
    ]
    firsts = [_first_visible(text, start, end) for start, end in spans]
    return [
        start < end and any(first in part for part in marked) for (start, end), first in zip(spans, firsts, strict=True)
    ]


def _first_visible(text: str, start: int, end: int) -> int:
    """The offset of a token's first non-space character, or its start where all is space."""
    piece = text[start:end]
    first = start + len(piece) - len(piece.lstrip())
    return start if first == end else first


def token_classes(
    encoder: PromptEncoder,
    completion: Completion,
    candidate: Candidate | None,
    spans: list[tuple[int, int]] | None = None,
) -> list[int]:
    """Indices into `CLASSES`, one a token of the completion. `spans`: those of `token_spans`, if they are known."""
    text = completion.text
    spans = spans if spans is not None else token_spans(encoder, completion.token_ids, text)
    code_start, code_end, lexemes = 0, 0, []
    if candidate is not None:
        code = candidate.text[candidate.header_length :]
        code_start, code_end = candidate.start_offset, candidate.start_offset + len(code)
        lexemes = lex(code)
    starts = [lexeme.start for lexeme in lexemes]
    classes = []
    for position, (start, end) in enumerate(spans):
        if completion.finish_reason == "stop" and position == len(spans) - 1:
            classes.append(CLASSES.index(STOP))
            continue
        first = _first_visible(text, start, end)
        if not code_start <= first < code_end:
            classes.append(CLASSES.index(PROSE))
            continue
        lexeme = lexemes[bisect.bisect_right(starts, first - code_start) - 1]
        classes.append(CLASSES.index(lexeme.kind.value))
    return classes
