"""The OpenAI protocol's requests and answers, chat and plain completions. Sends nothing."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from hdl_bench.sampler import as_text
from hdl_bench.types import Prompt, Sampling

_MAX_RETRY_AFTER_S = 600.0
_SHOWN_CHARACTERS = 300


class BadAnswer(Exception):
    """An answer that is cut short or is no answer of this protocol: worth another try."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One sample of an answer."""

    text: str
    finish_reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer: its samples in order, and what it cost in tokens where that is told."""

    choices: tuple[Choice, ...]
    num_prompt_tokens: int | None
    num_completion_tokens: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """What an endpoint understands: `is_chat` chooses the path; its name for the length limit; fields of the user's.

    A field in `extra` replaces one of ours, and one that is None leaves it out.
    """

    is_chat: bool = True
    length_field: str = "max_tokens"
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def path(self) -> str:
        return "chat/completions" if self.is_chat else "completions"

    def sent(self, prompt: Prompt) -> Any:
        """The prompt as it is sent: a list of messages or a text."""
        if not self.is_chat:
            return as_text(prompt)
        return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt.messages()

    def body(self, model: str, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        """A request's body. `sampling.num_samples` samples are asked for at once."""
        body: dict[str, Any] = {
            "model": model,
            "messages" if self.is_chat else "prompt": self.sent(prompt),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.length_field: sampling.max_tokens,
            "seed": sampling.seed,
        }
        if sampling.num_samples > 1:
            body["n"] = sampling.num_samples
        for name, value in self.extra:
            body[name] = value
        return {name: value for name, value in body.items() if value is not None}


def read_reply(content: bytes, *, is_chat: bool) -> Reply:
    """The answer in a body of status 200. Raises BadAnswer."""
    try:
        document = json.loads(content)
        choices = sorted(document["choices"], key=lambda choice: choice.get("index", 0))
        if not choices:
            raise ValueError("no choices")
        usage = document.get("usage") or {}
        return Reply(
            choices=tuple(_choice(choice, is_chat=is_chat) for choice in choices),
            num_prompt_tokens=_count(usage.get("prompt_tokens")),
            num_completion_tokens=_count(usage.get("completion_tokens")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        shown = content[:80].decode("utf-8", "replace")
        raise BadAnswer(
            f"the answer is no completion ({type(error).__name__}: {error}); it starts {shown!r}"
        ) from error


def _choice(choice: Mapping[str, Any], *, is_chat: bool) -> Choice:
    text = choice["message"]["content"] if is_chat else choice["text"]
    if text is None:  # all of it was reasoning, or it was refused
        text = ""
    if not isinstance(text, str):
        raise TypeError(f"the content is a {type(text).__name__}")
    return Choice(text=text, finish_reason=str(choice.get("finish_reason") or "unknown"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """What an endpoint said with a status other than 200: message, machine-readable code, field that it is about."""

    status: int
    message: str
    code: str = ""
    field: str = ""

    def is_about(self, field: str) -> bool:
        """Whether the request is refused for the sake of one of its fields."""
        return self.status in (400, 422) and (
            self.field == field or f"'{field}'" in self.message or f'"{field}"' in self.message
        )


def read_refusal(status: int, content: bytes, secret: str) -> Refusal:
    """The refusal in a body. Endpoints quote keys in their messages: `secret` is blotted out."""
    text = content.decode("utf-8", "replace")
    error = _error_object(text)
    message = str(error.get("message") or error.get("detail") or text)
    code, field = str(error.get("code") or error.get("type") or ""), str(error.get("param") or "")
    if secret:
        message = message.replace(secret, "[key]")
    message = " ".join(message.split())[:_SHOWN_CHARACTERS]
    return Refusal(status=status, message=message, code=code, field=field)


def _error_object(text: str) -> dict[str, Any]:
    """The `error` of a body; empty where the body is something else, a proxy's page for example."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    error = document.get("error", document) if isinstance(document, dict) else None
    return error if isinstance(error, dict) else {}


def retry_after_s(headers: Mapping[str, str], now: float) -> float:
    """The pause that an answer asks for, in seconds or as a date (`now` is Unix time); 0 for none that can be read."""
    value = headers.get("retry-after", "").strip()
    try:
        wait_s = float(value)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return 0.0
    return min(max(wait_s, 0.0), _MAX_RETRY_AFTER_S) if math.isfinite(wait_s) else 0.0
