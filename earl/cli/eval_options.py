"""The options of `earl eval --benchmark`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from earl.cli.common import cache_options

ENGINES = ("transformers", "vllm", "openai")
_PATH = click.Path(path_type=Path)
_POSITIVE = click.IntRange(min=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkOptions:
    """What was given on the command line. None: not given."""

    benchmark: str
    root: Path | None
    model: str | None
    engine: str
    run: Path | None
    resume: Path | None
    convention: str | None
    n: int | None
    temperature: float | None
    top_p: float | None
    max_tokens: int
    seed: int
    shots: int
    has_rules: bool
    template: str
    limit: int | None
    problems: tuple[str, ...]
    dtype: str
    max_rows: int
    threads: int
    base_url: str | None
    api_key_env: str | None
    concurrency: int
    requests_per_min: float
    tokens_per_min: float
    timeout_s: float
    max_attempts: int
    price: tuple[float, float] | None
    body: tuple[str, ...]
    workers: int
    is_formal: bool | None
    cache: Path | None
    is_uncached: bool


_OPTIONS = (
    click.option("--benchmark", metavar="NAME", help="verilog-eval-v2-spec, rtllm-v2, procedural, jsonl, ..."),
    click.option("--root", type=_PATH, help="The benchmark's checkout, or a file of problems."),
    click.option("--model", metavar="SPEC", help="A Hugging Face folder or hub name; for openai the endpoint's name."),
    click.option("--engine", type=click.Choice(ENGINES), default="transformers", show_default=True),
    click.option("--run", type=_PATH, help="Folder of the run, a new one.  [default: runs/eval-NNN]"),
    click.option("--resume", type=_PATH, help="Folder of a run to go on with; all else must be as it was started."),
    click.option("--greedy", "convention", flag_value="greedy", help="n=1 T=0 top_p=0.01. The default."),
    click.option("--sampled", "convention", flag_value="sampled", help="n=20 T=0.85 top_p=0.95, as published."),
    click.option("--n", type=_POSITIVE, help="Samples a problem."),
    click.option("--temperature", type=click.FloatRange(min=0)),
    click.option("--top-p", type=click.FloatRange(min=0, max=1, min_open=True)),
    click.option("--max-tokens", type=_POSITIVE, default=1024, show_default=True, help="Longest completion."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
    click.option("--shots", type=click.IntRange(0, 4), default=0, show_default=True, help="Worked examples."),
    click.option("--rules", "has_rules", is_flag=True, help="The benchmark's own coding rules, where it has some."),
    click.option(
        "--template",
        type=click.Choice(("auto", "chat", "plain")),
        default="auto",
        show_default=True,
        help="Messages, or a text to go on from. auto: messages where the model has a chat template.",
    ),
    click.option("--limit", type=_POSITIVE, help="Only the first so many problems."),
    click.option("--problems", multiple=True, metavar="ID", help="Only this problem; may be repeated."),
    click.option("--dtype", type=click.Choice(("bfloat16", "float32")), default="bfloat16", show_default=True),
    click.option("--max-rows", type=_POSITIVE, default=32, show_default=True, help="Samples drawn side by side."),
    click.option("--threads", type=click.IntRange(min=0), default=0, help="Torch's threads; 0: its own choice."),
    click.option("--base-url", metavar="URL", help="Of the endpoint.  [default: OpenAI's]"),
    click.option("--api-key-env", metavar="NAME", help="Environment variable that holds the endpoint's key."),
    click.option("--concurrency", type=_POSITIVE, default=8, show_default=True, help="Requests at a time."),
    click.option("--requests-per-min", type=click.FloatRange(min=0), default=0, help="0: no limit."),
    click.option("--tokens-per-min", type=click.FloatRange(min=0), default=0, help="0: no limit."),
    click.option("--timeout-s", type=click.FloatRange(min=0, min_open=True), default=600.0, help="Of one attempt."),
    click.option("--max-attempts", type=_POSITIVE, default=8, show_default=True, help="Of one request."),
    click.option("--price", type=(float, float), metavar="IN OUT", help="US dollars a million tokens, in and out."),
    click.option("--body", multiple=True, metavar="FIELD=JSON", help="A field of each request; null leaves one out."),
    click.option("--workers", type=_POSITIVE, default=2, show_default=True, help="Simulator processes here."),
    click.option("--formal/--no-formal", "is_formal", default=None, help="Prove passes on stock testbenches."),
    cache_options,
)


def benchmark_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All of the above on a command, which gets them by the names of `BenchmarkOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
