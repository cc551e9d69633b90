"""Samples from any endpoint of the OpenAI protocol: many requests at once, repeated until they are answered.

Overload, server faults, lost connections, time-outs and answers cut short are tried again, ever more slowly, and as
late as the endpoint asks. What the user must change (key, model, request) ends sampling at once; requests under way are
then still waited for, because they are paid. It keeps nothing: see `hdl_bench.sampler.Listener`.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx

from hdl_bench.openai_endpoint import Endpoint, Pace
from hdl_bench.openai_wire import BadAnswer, Dialect, Refusal, Reply, read_refusal, read_reply, retry_after_s
from hdl_bench.rate_limit import RateLimiter
from hdl_bench.sampler import Ask, Listener, Sampled, as_text, derived_seed
from hdl_bench.types import Completion, Prompt, Sampling
from toolchain.errors import InfrastructureError, UsageError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_RETRIED = (408, 409, 425, 429)  # and all from 500 on
_USED_UP = ("insufficient_quota", "billing_hard_limit_reached")  # a 429 that no waiting helps
_CHARACTERS_A_TOKEN = 3
_LOOK_UP_S = 0.5  # a long wait looks this often whether it is to end


class OpenAIEngine:
    """`Sampler` and `GenerationEngine` over HTTP."""

    def __init__(self, endpoint: Endpoint, dialect: Dialect, pace: Pace) -> None:
        self._endpoint, self._dialect, self._pace = endpoint, dialect, pace
        self._gives_several = True  # until an answer shows that the endpoint knows no `n`
        self._num_retries, self._last_said = 0, ""

    def update_weights(self, policy_version: int) -> None:
        raise UsageError("an endpoint's weights cannot be updated; train with sampling.engine auto, decode or hf")

    def sent(self, prompt: Prompt) -> object:
        """See `Sampler.sent`."""
        return self._dialect.sent(prompt)

    def trouble(self) -> str:
        """See `Sampler.trouble`."""
        return f"{self._num_retries} tried again: {self._last_said}" if self._num_retries else ""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[list[Completion]]:
        """See `GenerationEngine.generate`; token ids and log-probs are not known."""
        found: dict[tuple[str, int], Sampled] = {}
        asks = [
            Ask(problem_id=str(number), prompt=prompt, wanted=tuple(range(sampling.num_samples)))
            for number, prompt in enumerate(prompts)
        ]
        keep = Listener(on_answers=lambda answers: found.update({(a.problem_id, a.sample_idx): a for a in answers}))
        self.sample(asks, sampling, keep)
        return [[_completion(found[ask.problem_id, index]) for index in ask.wanted] for ask in asks]

    def sample(self, asks: Sequence[Ask], sampling: Sampling, listener: Listener) -> None:
        """See `Sampler.sample`.

        Raises UsageError when the endpoint refuses key, model or request, InfrastructureError when it keeps failing.
        """
        asyncio.run(_Sampling(self, asks, sampling, listener).run())

    # What follows is for `_Sampling`.

    def open_http(self) -> httpx.AsyncClient:
        """A client; the environment's proxies are for other machines."""
        headers = {"Authorization": f"Bearer {self._endpoint.api_key}"} if self._endpoint.api_key else {}
        is_here = urlsplit(self._endpoint.base_url).hostname in _LOOPBACK
        timeout = httpx.Timeout(self._pace.timeout_s, connect=min(15.0, self._pace.timeout_s), pool=None)
        limits = httpx.Limits(max_connections=self._pace.concurrency)
        return httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits, trust_env=not is_here)

    @property
    def pace(self) -> Pace:
        return self._pace

    @property
    def gives_several(self) -> bool:
        return self._gives_several

    def note_retry(self, said: str) -> None:
        self._num_retries, self._last_said = self._num_retries + 1, said

    def has_no_n(self) -> None:
        """An answer showed that samples must be asked for one by one."""
        self._gives_several = False

    async def attempt(self, http: httpx.AsyncClient, prompt: Prompt, sampling: Sampling) -> "Reply | _Failure":
        """One request. Raises UsageError for what only the user can change."""
        dialect = self._dialect
        body = dialect.body(self._endpoint.model, prompt, sampling)
        try:
            async with asyncio.timeout(self._pace.timeout_s):
                response = await http.post(f"{self._endpoint.base_url}/{dialect.path}", json=body)
        except TimeoutError:
            return _Failure(said=f"no answer within {self._pace.timeout_s:g} s")
        except httpx.TransportError as error:
            return _Failure(said=f"{type(error).__name__} {error}".strip())
        if response.status_code == 200:
            try:
                return read_reply(response.content, is_chat=dialect.is_chat)
            except BadAnswer as error:
                return _Failure(said=str(error))
        refusal = read_refusal(response.status_code, response.content, self._endpoint.api_key)
        if (response.status_code in _RETRIED or response.status_code >= 500) and refusal.code not in _USED_UP:
            pause_s = retry_after_s(response.headers, time.time())
            is_overload = response.status_code == 429
            return _Failure(said=f"HTTP {refusal.status}: {refusal.message}", pause_s=pause_s, is_overload=is_overload)
        if self._adapt(refusal, dialect, sampling):
            return _Failure(said=f"HTTP {refusal.status}: {refusal.message}", is_adapted=True)
        raise self._final(refusal)

    def _adapt(self, refusal: Refusal, dialect: Dialect, sampling: Sampling) -> bool:
        """Whether the request can be put in another way that means the same, and is from now on."""
        if sampling.num_samples > 1 and refusal.is_about("n"):
            self.has_no_n()
            return True
        newer = "max_completion_tokens"
        if dialect.length_field != newer and refusal.is_about("max_tokens") and newer in refusal.message:
            self._dialect = replace(dialect, length_field=newer)
            return True
        return False

    def _final(self, refusal: Refusal) -> UsageError:
        where = f"{self._endpoint.base_url} (HTTP {refusal.status})"
        if refusal.status in (401, 403):
            key_env = self._endpoint.key_env
            hint = f"check the key in {key_env}" if key_env else "it wants a key: name its variable with --api-key-env"
            return UsageError(f"{where} refuses us: {refusal.message}; {hint}")
        if refusal.status == 404:
            hint = f"check --model (now {self._endpoint.model}), --base-url and --template"
            return UsageError(f"{where} knows no such thing: {refusal.message}; {hint}")
        return UsageError(
            f"{where} refuses the request: {refusal.message}; change it, by --body FIELD=VALUE for example"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    """An attempt to be repeated. `is_adapted`: at once, in another form."""

    said: str
    pause_s: float = 0.0
    is_overload: bool = False
    is_adapted: bool = False


class _Sampling:
    """One call of `sample`: the requests that wait, and who sends them."""

    def __init__(self, engine: OpenAIEngine, asks: Sequence[Ask], sampling: Sampling, listener: Listener) -> None:
        self._engine, self._sampling, self._listener = engine, sampling, listener
        self._waiting = deque((ask, ask.wanted) for ask in asks if ask.wanted)
        pace = engine.pace
        self._limiter = RateLimiter(requests_per_min=pace.requests_per_min, tokens_per_min=pace.tokens_per_min)
        self._num_under_way = 0
        self._news = asyncio.Event()  # something waits again, or has ended
        self._error: Exception | None = None

    async def run(self) -> None:
        async with self._engine.open_http() as http:
            await asyncio.gather(*(self._work(http) for _ in range(self._engine.pace.concurrency)))
        if self._error is not None:
            raise self._error

    @property
    def _is_over(self) -> bool:
        return self._error is not None or self._listener.should_stop()

    async def _work(self, http: httpx.AsyncClient) -> None:
        """Send what waits, one request after the other. The first error of anyone ends the work of all."""
        while not self._is_over and (self._waiting or self._num_under_way):
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            ask, wanted = self._waiting.popleft()
            self._num_under_way += 1
            try:
                reply = await self._answered(http, ask, wanted)
                if reply is not None:
                    self._deliver(ask, *reply)
            except Exception as error:  # the boundary of a sender: others finish what is paid, then it is raised
                self._error = self._error or error
            finally:
                self._num_under_way -= 1
                self._news.set()

    async def _answered(
        self, http: httpx.AsyncClient, ask: Ask, wanted: tuple[int, ...]
    ) -> tuple[tuple[int, ...], Reply] | None:
        """The reply, and the samples it was asked for; those that were not wait again. None: stopped meanwhile."""
        pace, said = self._engine.pace, ""
        guess = len(as_text(ask.prompt)) // _CHARACTERS_A_TOKEN + self._sampling.max_tokens
        num_failures = 0
        while num_failures < pace.max_attempts:
            if len(wanted) > 1 and not self._engine.gives_several:
                self._wait_again(ask, wanted[1:])
                wanted = wanted[:1]
            seed = derived_seed(self._sampling.seed, [ask.problem_id, wanted[0]])
            request = replace(self._sampling, num_samples=len(wanted), seed=seed)
            reserved = await self._limiter.admit(guess * len(wanted), lambda: self._is_over)
            if reserved is None:
                return None
            answer = await self._engine.attempt(http, ask.prompt, request)
            if isinstance(answer, Reply):
                self._limiter.settle(reserved, _num_tokens(answer))
                return wanted, answer
            self._limiter.release(reserved)
            said = answer.said
            if not answer.is_adapted:
                num_failures += 1
                await self._back_off(answer, num_failures)
                if self._is_over:
                    return None
        raise InfrastructureError(
            f"{ask.problem_id} was not answered in {pace.max_attempts} attempts; last: {said}. What was sampled is"
            " kept: try again with --resume"
        )

    def _wait_again(self, ask: Ask, indices: tuple[int, ...]) -> None:
        self._waiting.extendleft((ask, (index,)) for index in reversed(indices))
        self._news.set()

    async def _back_off(self, failure: _Failure, num_failures: int) -> None:
        """Doubling waits, each cut by up to a half so that senders spread; an overload concerns all senders."""
        self._engine.note_retry(failure.said)
        first, longest = self._engine.pace.back_off_s
        delay_s = min(first * 2 ** (num_failures - 1), longest) * random.uniform(0.5, 1.0)
        if failure.is_overload or failure.pause_s:
            self._limiter.pause(max(delay_s, failure.pause_s))
        if num_failures < self._engine.pace.max_attempts:
            until = time.monotonic() + max(delay_s, failure.pause_s)
            while not self._is_over and (left_s := until - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, _LOOK_UP_S))

    def _deliver(self, ask: Ask, wanted: tuple[int, ...], reply: Reply) -> None:
        choices = reply.choices[: len(wanted)]
        if len(choices) < len(wanted):
            self._engine.has_no_n()
            self._wait_again(ask, wanted[len(choices) :])
        seed = derived_seed(self._sampling.seed, [ask.problem_id, wanted[0]])
        answers = []
        for number, (index, choice) in enumerate(zip(wanted, choices, strict=False)):
            answers.append(
                Sampled(
                    problem_id=ask.problem_id,
                    sample_idx=index,
                    text=choice.text,
                    finish_reason=choice.finish_reason,
                    num_prompt_tokens=0 if number else reply.num_prompt_tokens,
                    num_completion_tokens=0 if number else reply.num_completion_tokens,
                    seed=seed,
                )
            )
        self._listener.on_answers(answers)


def _num_tokens(reply: Reply) -> int | None:
    if reply.num_prompt_tokens is None or reply.num_completion_tokens is None:
        return None
    return reply.num_prompt_tokens + reply.num_completion_tokens


def _completion(sampled: Sampled) -> Completion:
    return Completion(
        prompt_token_ids=(),
        token_ids=(),
        logprobs=(),
        entropies=(),
        text=sampled.text,
        finish_reason=sampled.finish_reason,
    )
