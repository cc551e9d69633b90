"""Finds training items that are too close to a benchmark: by the words of prompts and goldens, and by structure.

An item and a protected problem overlap when one of these holds, the first that does being the reason:
- `golden_equal`: their goldens have the same tokens, or one canonical form (`hdl_bench.structure`): a renamed copy;
- `prompt_equal`: their prompts have the same words in the same order;
- `prompt_ngrams`, `golden_ngrams`: of the shorter text's n-grams at least a given part stands in the other. N-grams
  that more than a twentieth of a benchmark's problems share are not counted: its common phrases are no evidence. Of
  goldens the module headers do not count, and a name counts by how far back it was last used: renaming changes nothing.

Containment is exact, not estimated: the protected side is an index of n-grams, and a training item is looked up in time
that grows with its own length. Nothing is random.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hdl_bench.structure import canonical_form, expanded_text
from verifiers.lexer import RESERVED_WORDS
from verifiers.types import Problem

PROMPT_N, GOLDEN_N = 8, 16  # words of a prompt, tokens of a golden
MIN_CONTAINMENT = 0.8
_COMMON_FRACTION, _COMMON_COUNT = 0.05, 3
_MIN_GRAMS = 4  # a text with fewer is compared as a whole only
_FAR = 32  # tokens; a name that was last used further back counts as new

_Text = tuple[str, ...]

_WORD = re.compile(r"\w+|[^\w\s]")
_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|(//[^\n]*|/\*.*?(?:\*/|\Z))', re.DOTALL)
_DIRECTIVE = re.compile(r"^\s*`(?:timescale|default_nettype|resetall)\b[^\n]*", re.MULTILINE)
_CODE_TOKEN = re.compile(
    r"[A-Za-z_$][\w$]*|\d*'s?[bodh][\w?]+|\d+|<<<|>>>|===|!==|<=|>=|==|!=|&&|\|\||<<|>>|[^\s\w]", re.IGNORECASE
)
_MARK = re.compile(r"\b(?:assign|always\w*|if|else|case[xz]?|for|posedge|negedge|endmodule|endcase)\b|[-+*/%&|^~!<>?=]")


class Reason(StrEnum):
    """Why two items are too close; the strongest first."""

    GOLDEN_EQUAL = "golden_equal"
    PROMPT_EQUAL = "prompt_equal"
    PROMPT_NGRAMS = "prompt_ngrams"
    GOLDEN_NGRAMS = "golden_ngrams"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What is compared of a problem. Either text may be empty: it then takes no part."""

    item_id: str
    prompt: str
    golden: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """A training item and the protected problem it is closest to. `score` is 1 for equality, else the containment."""

    item_id: str
    benchmark: str
    problem_id: str
    reason: Reason
    score: float


def item_of(problem: Problem) -> Item:
    """What is compared of a problem."""
    return Item(item_id=problem.problem_id, prompt=problem.prompt, golden=problem.oracle.golden or "")


class Protected:
    """Benchmarks to be kept out of a training set: (name, items) each.

    `min_containment` None: equality alone counts.
    """

    def __init__(
        self, benchmarks: Sequence[tuple[str, Sequence[Item]]], *, min_containment: float | None = MIN_CONTAINMENT
    ) -> None:
        self._min_containment = min_containment
        self._names = [(name, item.item_id) for name, items in benchmarks for item in items]
        self._by_structure: dict[str, list[int]] = defaultdict(list)
        self._marks: set[tuple[tuple[str, int], ...]] = set()
        for number, item in enumerate(item for _, items in benchmarks for item in items):
            form = canonical_form(item.golden) if item.golden else None
            if form is not None:
                self._by_structure[form].append(number)
                self._marks.add(_marks_of(item.golden))
        prompts = [[words_of(item.prompt) for item in items] for _, items in benchmarks]
        goldens = [[tokens_of(item.golden) for item in items] for _, items in benchmarks]
        self._prompts, self._goldens = _TextIndex(prompts, prompt_grams), _TextIndex(goldens, golden_grams)

    def overlaps(self, item: Item) -> list[Overlap]:
        """The protected problems that an item is too close to, the closest first."""
        words, tokens = words_of(item.prompt), tokens_of(item.golden)
        found: dict[int, tuple[Reason, float]] = {}
        for number in (*self._goldens.equal(tokens), *self._equal_structures(item.golden)):
            found.setdefault(number, (Reason.GOLDEN_EQUAL, 1.0))
        for number in self._prompts.equal(words):
            found.setdefault(number, (Reason.PROMPT_EQUAL, 1.0))
        if self._min_containment is not None:
            shared = [(number, Reason.PROMPT_NGRAMS, score) for number, score in self._prompts.contained(words)]
            shared += [(number, Reason.GOLDEN_NGRAMS, score) for number, score in self._goldens.contained(tokens)]
            for number, reason, score in shared:
                if score >= self._min_containment:
                    found.setdefault(number, (reason, score))
        order = {reason: rank for rank, reason in enumerate(Reason)}
        ranked = sorted(found.items(), key=lambda pair: (order[pair[1][0]], -pair[1][1], pair[0]))
        return [
            Overlap(item_id=item.item_id, benchmark=name, problem_id=problem_id, reason=reason, score=score)
            for (name, problem_id), (reason, score) in ((self._names[number], why) for number, why in ranked)
        ]

    def _equal_structures(self, golden: str) -> list[int]:
        if not golden or not self._by_structure or _marks_of(golden) not in self._marks:
            return []
        return self._by_structure.get(canonical_form(golden) or "", [])


class _TextIndex:
    """Which of many texts are equal to another, or share n-grams with it. Texts are numbered through all benchmarks."""

    def __init__(self, benchmarks: Sequence[Sequence[_Text]], grams_of: Callable[[_Text], set[_Text]]) -> None:
        self._grams_of = grams_of
        self._by_text: dict[_Text, list[int]] = defaultdict(list)
        self._by_gram: dict[_Text, list[int]] = {}  # with an empty list: common, no evidence
        for texts in benchmarks:
            counts = Counter(gram for text in texts for gram in grams_of(text))
            limit = max(_COMMON_COUNT, _COMMON_FRACTION * len(texts))
            self._by_gram |= {gram: [] for gram, count in counts.items() if count > limit}
        common = frozenset(self._by_gram)
        self._sizes: list[int] = []
        for number, text in enumerate(text for texts in benchmarks for text in texts):
            self._by_text[text].append(number)
            grams = grams_of(text) - common
            self._sizes.append(len(grams))
            for gram in grams:
                self._by_gram.setdefault(gram, []).append(number)

    def equal(self, text: _Text) -> list[int]:
        """The texts that are equal to this one, which is not empty."""
        return self._by_text.get(text, []) if text else []

    def contained(self, text: _Text) -> list[tuple[int, float]]:
        """(number, part of the shorter text's n-grams that both have) of the texts that share any."""
        shared: Counter[int] = Counter()
        num_grams = 0
        for gram in self._grams_of(text):
            numbers = self._by_gram.get(gram)
            if numbers is None:
                num_grams += 1
            elif numbers:
                num_grams += 1
                shared.update(numbers)
        sizes = ((number, count, min(num_grams, self._sizes[number])) for number, count in shared.items())
        return sorted((number, count / size) for number, count, size in sizes if size >= _MIN_GRAMS)


def words_of(prompt: str) -> _Text:
    """The words and signs of a prompt; case and white space make no difference."""
    return tuple(_WORD.findall(prompt.lower()))


def tokens_of(golden: str) -> _Text:
    """The tokens of Verilog, without comments. Names count."""
    return tuple(_CODE_TOKEN.findall(_without_comments(golden)))


def prompt_grams(words: _Text) -> set[_Text]:
    """The distinct n-grams of a prompt's words."""
    return _grams(words, PROMPT_N)


def golden_grams(tokens: _Text) -> set[_Text]:
    """The distinct n-grams of a golden's tokens without its headers: many designs have one interface.

    A name is the number of tokens since it was last used.
    """
    last: dict[str, int] = {}
    encoded = []
    is_header = False
    for index, token in enumerate(tokens):
        is_header = token == "module" or (is_header and token != ";")
        if is_header:
            continue
        if token not in RESERVED_WORDS and (token[0].isalpha() or token[0] == "_"):
            distance = index - last.get(token, -_FAR)
            last[token] = index
            encoded.append(f"#{distance}" if distance < _FAR else "#")
        else:
            encoded.append(token)
    return _grams(tuple(encoded), GOLDEN_N)


def _grams(tokens: _Text, n: int) -> set[_Text]:
    return set(zip(*(tokens[start:] for start in range(n)), strict=False))


def _without_comments(code: str) -> str:
    if "/" in code:
        code = _COMMENT.sub(lambda match: " " if match[1] else match[0], code)
    return code


def _marks_of(golden: str) -> tuple[tuple[str, int], ...]:
    """Counts of what is not a name: designs of one canonical form have the same, and few others do.

    Cheap to read, so only designs whose marks are protected are parsed. Directives and escaped names need the parser.
    """
    code = _DIRECTIVE.sub("", _without_comments(golden))
    if "`" in code or "\\" in code:
        code = expanded_text(golden)
    return tuple(sorted(Counter(_MARK.findall(code)).items()))
