"""Takes the Verilog out of a completion: what the simulator compiles, and where in the completion it stands.

The rules, first that applies: reasoning (`<think>..</think>` and other models' marks for it) is dropped, and an
unclosed one leaves no answer; between the first `[BEGIN]` and its `[DONE]`, where a `[BEGIN]` alone gives nothing, or
between `<answer>` and `</answer>`; the last fenced block that defines the top module, closed before unclosed, an
unclosed fence counting to the end; else all of the text, prose included. It repairs nothing: prose around bare code, a
wrong module name or broken code is for the checks to report.
"""

import re
from dataclasses import dataclass

from markdown_it import MarkdownIt

from verifiers.lexer import LexemeKind, lex
from verifiers.types import Candidate

_MARKS = (("[BEGIN]", "[DONE]"), ("<answer>", "</answer>"))
# What opens and closes reasoning. The last: a channel of its own, closed by a mark that other things share.
_CHANNEL = ("<|channel|>analysis<|message|>", "<|end|>")
_REASONING = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    _CHANNEL[0]: _CHANNEL[1],
}
_OPENERS = re.compile("|".join(map(re.escape, _REASONING)))
_CLOSERS = re.compile("|".join(re.escape(mark) for mark in _REASONING.values() if mark != _CHANNEL[1]))
_MARKDOWN = MarkdownIt("zero").enable(["fence", "list", "blockquote"])
_NEWLINE = re.compile(r"\r\n?|\n")  # as the Markdown parser counts lines
_MODULE_HEADER = re.compile(  # comments may stand between the name and what follows it
    r"\bmodule\s+(?:automatic\s+|static\s+)?([A-Za-z_][\w$]*)(?:\s|//[^\n]*\n|/\*[^*]*\*/)*(?:[#(;]|import\b)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """A part of the completion, offsets in characters."""

    start: int
    end: int
    is_closed: bool = True  # of a fenced block: whether its closing fence is there

    def of(self, text: str) -> str:
        return text[self.start : self.end]


def extract(text: str, top_module: str) -> Candidate | None:
    """The candidate in a completion's text, or None when it holds no module.

    `candidate.text[header_length:]` is exactly the completion's text from `start_offset` on. The header is empty but
    for helper modules that stand in fenced blocks of their own: these are put in front of the block with the top.
    """
    for answer in _answers(text):
        candidate = _extract_from(text, answer, top_module)
        if candidate is not None:
            return candidate
    return None


def answer_text(text: str) -> str:
    """A completion's text after its reasoning; "" when a reasoning block is not closed."""
    answers = _answers(text)
    return answers[0].of(text) if answers else ""


def _answers(text: str) -> list[_Span]:
    """The parts outside reasoning, the last first; none when a reasoning block is not closed."""
    spans, position = [], 0
    opener, closer = _OPENERS.search(text), _CLOSERS.search(text)
    if closer and (opener is None or opener.start() > closer.start()):
        position = closer.end()  # the prompt opened the reasoning
    while opener := _OPENERS.search(text, position):
        spans.append(_Span(start=position, end=opener.start()))
        mark = _REASONING[opener.group()]
        closed = text.find(mark, opener.end())
        if closed < 0:
            return []
        position = closed + len(mark)
    spans.append(_Span(start=position, end=len(text)))
    return spans[::-1]


def _extract_from(text: str, answer: _Span, top_module: str) -> Candidate | None:
    for opening, closing in _MARKS:
        begin = text.find(opening, answer.start, answer.end)
        if begin < 0:
            continue
        done = text.find(closing, begin, answer.end)
        if done < 0:
            return None
        answer = _Span(start=begin + len(opening), end=done)
        break
    blocks = [block for block in _fenced_blocks(text, answer) if _defined_modules(block.of(text))]
    if blocks:
        return _from_blocks(text, blocks, top_module)
    if not _MODULE_HEADER.search(text, answer.start, answer.end):
        return None
    return Candidate(text=answer.of(text), start_offset=answer.start)


def _fenced_blocks(text: str, answer: _Span) -> list[_Span]:
    """The contents of the fenced blocks, in order. An unclosed fence reaches to the end."""
    starts = [answer.start, *(match.end() for match in _NEWLINE.finditer(text, answer.start, answer.end)), answer.end]
    blocks = []
    for token in _MARKDOWN.parse(answer.of(text)):
        if token.type != "fence":
            continue
        assert token.map is not None, "a fence token without lines"
        first, end = token.map
        last_line = text[starts[end - 1] : starts[end]].strip(" \t\r\n>")
        is_closed = end - first > 1 and last_line.startswith(token.markup) and not last_line.strip(token.markup[0])
        blocks.append(
            _Span(start=starts[first + 1], end=starts[end - 1] if is_closed else starts[end], is_closed=is_closed)
        )
    return blocks


def _defined_modules(code: str) -> set[str]:
    return {match.group(1) for match in _MODULE_HEADER.finditer(code)}


def _from_blocks(text: str, blocks: list[_Span], top_module: str) -> Candidate:
    """The last block that defines the top (a model that corrects itself means its later answer), one that was not cut
    off if there is one; else the first block. In front, the blocks with modules that it uses."""
    tops = [block for block in blocks if top_module in _defined_modules(block.of(text))]
    main = next((block for block in reversed(tops) if block.is_closed), tops[-1] if tops else blocks[0])
    present = _defined_modules(main.of(text))
    used = _identifiers(main.of(text))
    helpers: list[_Span] = []
    for _ in blocks:  # a helper may use helpers: as many passes as there are blocks find them all
        for block in blocks:
            defined = _defined_modules(block.of(text))
            if defined & used and not defined & present:
                helpers.append(block)
                present |= defined
                used |= _identifiers(block.of(text))
    header = "".join(helper.of(text) + "\n" for helper in helpers)
    return Candidate(text=header + main.of(text), start_offset=main.start, header_length=len(header))


def _identifiers(code: str) -> set[str]:
    return {code[x.start : x.end] for x in lex(code) if x.kind is LexemeKind.IDENTIFIER}
