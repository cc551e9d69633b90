"""Requests to a service that are repeated until they are answered: lost connections, overload, restarts, long waits.

Knows the error document and the deadline, nothing of jobs.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from toolchain.errors import DeadlineExceeded, EarlError, InfrastructureError, UsageError
from verifiers.service_errors import RETRYABLE
from verifiers.service_wire import ErrorDocument

_TIMEOUT = httpx.Timeout(connect=5.0, read=60.0, write=60.0, pool=None)  # a service answers 202 well before that
_BACK_OFF_S = (0.1, 5.0)  # the first and the longest
_OURS_TO_CHANGE = (401, 403, 404, 413, 421, 422)


class Refused(UsageError):
    """The service will not answer this request, now or later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request. `what` names it in messages ("12 verdicts"); `deadline_s` bounds all its repetitions together."""

    method: str
    path: str
    what: str
    deadline_s: float
    content: bytes | None = None
    headers: dict[str, str] | None = None


class Caller:
    """An HTTP client for one service. For one event loop. The environment's proxies are not used."""

    def __init__(self, url: str, token: str | None) -> None:
        if not urlsplit(url).hostname:
            raise UsageError(f"{url!r} names no host; give http://HOST:PORT")
        self.url = url.rstrip("/")
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=_TIMEOUT, trust_env=False)
        except httpx.InvalidURL as error:
            raise UsageError(f"{url!r} is no address of a service ({error}); give http://HOST:PORT") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def answer(self, call: Call) -> bytes:
        """The body of the answer 200.

        Raises DeadlineExceeded that says what came last, Refused when repeating is useless and the user can change
        something, InfrastructureError when repeating is useless and the service is at fault.
        """
        said = "nothing was sent"
        try:
            async with asyncio.timeout(call.deadline_s):
                for attempt in itertools.count():
                    delay_s = _back_off_s(attempt)
                    try:
                        response = await self._http.request(
                            call.method, call.path, content=call.content, headers=call.headers
                        )
                    except httpx.TransportError as error:
                        said = f"{type(error).__name__} {error}".strip()
                    else:
                        if response.status_code == 200:
                            return response.content
                        said = _said(response)
                        if response.status_code == 202:  # under way: the waiting was done over there
                            await asyncio.sleep(_BACK_OFF_S[0])
                            continue
                        if response.status_code not in RETRYABLE:
                            raise self._final(response.status_code, said)
                        delay_s = max(delay_s, _retry_after_s(response))
                    await asyncio.sleep(delay_s)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"waited {call.deadline_s:g} s for {call.what} from {self.url}; last: {said}."
                " Is `earl serve` running there?"
            ) from error
        raise AssertionError("the loop above has no end of its own")

    def _final(self, status: int, said: str) -> EarlError:
        if status in _OURS_TO_CHANGE:
            hint = "; give the service's token (verifier.token_file)" if status in (401, 403) else ""
            return Refused(f"{self.url} refuses: {said}{hint}")
        return InfrastructureError(f"{self.url} failed: {said}; see its log")


def _back_off_s(attempt: int) -> float:
    """Doubling from the first delay to the longest, each shortened by up to a half so that clients spread."""
    first, longest = _BACK_OFF_S
    return min(first * 2 ** min(attempt, 10), longest) * random.uniform(0.5, 1.0)


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _said(response: httpx.Response) -> str:
    """What the service said, or, where something else answered, the status and how its answer begins."""
    try:
        message = ErrorDocument.model_validate_json(response.content).error.message
    except ValidationError:
        message = response.text[:200]
    return f"HTTP {response.status_code}: {message}"
