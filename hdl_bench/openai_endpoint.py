"""Where an endpoint of the OpenAI protocol is, with whose key, and how hard it may be pressed."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from toolchain.errors import UsageError

OPENAI_URL, OPENAI_KEY_ENV = "https://api.openai.com/v1", "OPENAI_API_KEY"


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where and what to ask. `key_env` names the environment variable that the key is from; "" for no key."""

    base_url: str
    model: str
    key_env: str = ""
    api_key: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, base_url: str, model: str, key_env: str | None) -> "Endpoint":
        """An endpoint with its key. Without `key_env` only OpenAI's own endpoint is given OpenAI's key.

        Raises UsageError for a URL that is none or holds a password, and for a variable that is not set.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--base-url is {base_url!r}; give http(s)://HOST[:PORT]/v1")
        if parts.username or parts.password:
            raise UsageError(
                "--base-url holds a user name or password; put the key into a variable: --api-key-env NAME"
            )
        if key_env is None:
            key_env = OPENAI_KEY_ENV if base_url.rstrip("/") == OPENAI_URL else ""
        api_key = os.environ.get(key_env, "").strip() if key_env else ""
        if key_env and not api_key:
            raise UsageError(f"the environment variable {key_env} is not set; export the endpoint's key in it")
        if not (api_key.isascii() and api_key.isprintable()):
            raise UsageError(f"the key in {key_env} has characters that no key has; export it again")
        return cls(base_url=base_url.rstrip("/"), model=model, key_env=key_env, api_key=api_key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How hard to press. Limits of 0 are none; `timeout_s` bounds one attempt, `max_attempts` those of one request."""

    concurrency: int = 8
    requests_per_min: float = 0
    tokens_per_min: float = 0
    timeout_s: float = 600.0
    max_attempts: int = 8
    back_off_s: tuple[float, float] = (1.0, 60.0)  # the first and the longest
