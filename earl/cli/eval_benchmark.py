"""The body of `earl eval --benchmark`: from options to a scored run."""

import importlib.util
import json
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from typing import Any

import click
from rich.console import Console

from earl.benchmark_eval import EvalFolder, Plan, Standing, Watcher, evaluate_benchmark
from earl.cli.common import cache_path, console, set_up_torch
from earl.cli.eval_options import BenchmarkOptions
from earl.cli.score import open_prover
from earl.metrics import ProgressLine
from earl.printable import printable
from earl.show_results import render_results
from earl.signals import StopRequest
from hdl_bench.benchmarks import load_benchmark
from hdl_bench.prompts import PromptOptions, make_prompts, prompt_sha256
from hdl_bench.results import RunInfo, dataset_hash, results_document, sample_rows, write_results
from hdl_bench.sample_journal import SampleJournal
from hdl_bench.sampler import Sampler, SamplerPlan
from hdl_bench.score import Judges, Upstream
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.types import Sampling
from toolchain.errors import UsageError
from verifiers.cache import DiskCache
from verifiers.connect import FarmSettings, connect
from verifiers.simulate import local_executor

# As VerilogEval publishes: n, temperature, top_p.
CONVENTIONS = {"greedy": (1, 0.0, 0.01), "sampled": (20, 0.85, 0.95)}
_SHOWN_TROUBLE = 60


def run(options: BenchmarkOptions, verifier: str, *, is_quiet: bool) -> dict[str, Any]:
    """Sample and score; the results document, which is also in the run's folder and, unless quiet, shown on stdout."""
    if options.root is None or options.model is None:
        raise UsageError(f"--benchmark {options.benchmark} needs --root and --model")
    if options.run and options.resume:
        raise UsageError("--run is for a new run, --resume for an old one; give one of them")
    benchmark = load_benchmark(options.benchmark, options.root)
    if benchmark.refused:
        console.print(printable(benchmark.refused), markup=False, highlight=False)
    sampling = _sampling(options)
    sampler_plan = _plan_sampler(options)
    ask = PromptOptions(is_chat=sampler_plan.is_chat, num_shots=options.shots, has_rules=options.has_rules)
    prompts = make_prompts(benchmark, _chosen(benchmark, options), options.root, ask)
    plan = Plan(benchmark=benchmark, prompts=prompts, sampling=sampling)
    settings = _settings(options, plan, "chat" if ask.is_chat else "plain")
    resumed = options.resume
    folder = EvalFolder.reopen(resumed, settings) if resumed else EvalFolder.create(options.run, settings)
    console.print(f"run folder: {folder.path}")
    with ExitStack() as opened:
        prover = open_prover(opened, options.is_formal) if benchmark.has_stock_testbenches else None
        kept = cache_path(options.cache, options.is_uncached)
        proofs = opened.enter_context(closing(DiskCache(kept))) if kept and prover else None
        settings_of_farm = FarmSettings(num_workers=options.workers, cache=str(kept) if kept else "")
        ours = opened.enter_context(connect(verifier, settings_of_farm))
        upstream = Upstream([local_executor() for _ in range(options.workers)]) if benchmark.compatible else None
        stop = opened.enter_context(StopRequest())
        sampler = sampler_plan.open()
        lines = opened.enter_context(_Lines(options, plan, sampler))
        watcher = Watcher(on_sampling=lines.on_sampling, on_scoring=lines.show, should_stop=lambda: stop.is_set)
        judges = Judges(ours=ours, prover=prover, upstream=upstream, cache=proofs)
        done = evaluate_benchmark(folder, plan, sampler, judges, watcher)
    if done is None:
        console.print(f"stopped; go on with the same command and --resume {folder.path} instead of --run")
        raise click.exceptions.Exit(1)
    score, samples = done
    info = _run_info(options, settings, sampling, samples)
    document = results_document(score, info)
    sent = {name: sampler.sent(prompt) for name, prompt in prompts.items()}
    files = write_results(folder.path, document, sample_rows(score, sent))
    if not is_quiet:
        Console(highlight=False).print(render_results(document))
    console.print("written: " + ", ".join(map(str, files)))
    return document


def _sampling(options: BenchmarkOptions) -> Sampling:
    n, temperature, top_p = CONVENTIONS[options.convention or "greedy"]
    given = {"num_samples": options.n, "temperature": options.temperature, "top_p": options.top_p}
    sampling = Sampling(
        num_samples=n, temperature=temperature, top_p=top_p, max_tokens=options.max_tokens, seed=options.seed
    )
    if options.temperature and options.top_p is None and not options.convention:
        sampling = replace(sampling, top_p=1.0)  # greedy's 0.01 would leave a temperature without effect
    sampling = replace(sampling, **{name: value for name, value in given.items() if value is not None})
    if sampling.num_samples > 1 and sampling.temperature == 0:
        raise UsageError(
            f"{sampling.num_samples} samples at temperature 0 are one sample; give --sampled, or a --temperature"
        )
    return sampling


def _chosen(benchmark: ScoredBenchmark, options: BenchmarkOptions) -> list[str]:
    """The problems that are sampled, in the benchmark's order."""
    unknown = [name for name in options.problems if name not in benchmark.problems]
    if unknown:
        known = ", ".join(list(benchmark.problems)[:3])
        raise UsageError(f"{benchmark.name} has no problem {unknown[0]!r}; its names are like {known}")
    chosen = [name for name in benchmark.problems if not options.problems or name in options.problems]
    return chosen[: options.limit]


def _plan_sampler(options: BenchmarkOptions) -> SamplerPlan:
    if options.engine == "openai":
        return _plan_endpoint(options)
    set_up_torch(options.threads)
    from earl.samplers import LocalOptions, plan_transformers, plan_vllm

    local = LocalOptions(
        model=options.model,
        template=options.template,
        max_tokens=options.max_tokens,
        dtype=options.dtype,
        max_rows=options.max_rows,
    )
    return plan_vllm(local) if options.engine == "vllm" else plan_transformers(local)


def _settings(options: BenchmarkOptions, plan: Plan, style: str) -> dict[str, Any]:
    """All that samples depend on: a run is resumed with the same, or not at all."""
    settings = {
        "benchmark": options.benchmark,
        "dataset_hash": dataset_hash(plan.benchmark.problems.values()),
        "problems": list(plan.prompts),
        "model": options.model,
        "engine": options.engine,
        "prompt_style": style,
        "shots": options.shots,
        "rules": options.has_rules,
        "prompts_hash": _prompts_hash(plan),
        **asdict(plan.sampling),
    }
    if options.engine == "openai":
        return settings | {"base_url": options.base_url, "body": list(options.body)}
    return settings | {"dtype": options.dtype, "max_rows": options.max_rows}


def _prompts_hash(plan: Plan) -> str:
    prompts = plan.prompts.items()
    return prompt_sha256(
        [[name, as_sent if isinstance(as_sent, str) else as_sent.messages()] for name, as_sent in prompts]
    )


def _plan_endpoint(options: BenchmarkOptions) -> SamplerPlan:
    if importlib.util.find_spec("httpx") is None:
        raise UsageError("--engine openai needs the package httpx; pip install 'earl-rtl[openai]'")
    from hdl_bench.openai_endpoint import OPENAI_URL, Endpoint, Pace
    from hdl_bench.openai_engine import OpenAIEngine
    from hdl_bench.openai_wire import Dialect

    is_chat = options.template != "plain"
    endpoint = Endpoint.from_environment(options.base_url or OPENAI_URL, options.model, options.api_key_env)
    dialect = Dialect(is_chat=is_chat, extra=tuple(_field(text) for text in options.body))
    pace = Pace(
        concurrency=options.concurrency,
        requests_per_min=options.requests_per_min,
        tokens_per_min=options.tokens_per_min,
        timeout_s=options.timeout_s,
        max_attempts=options.max_attempts,
    )
    return SamplerPlan(is_chat=is_chat, open=lambda: OpenAIEngine(endpoint, dialect, pace))


def _field(text: str) -> tuple[str, Any]:
    """A field of a request's body: its value is JSON, a bare word a string."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f"--body is FIELD=VALUE with a JSON value; got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


class _Lines:
    """One live line a phase: sampling with what it costs, then what is left to score."""

    def __init__(self, options: BenchmarkOptions, plan: Plan, sampler: Sampler) -> None:
        self._options, self._plan, self._sampler = options, plan, sampler
        self._title, self._opened = "", ExitStack()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def on_sampling(self, standing: Standing) -> None:
        parts = [f"{standing.num_judged} judged", f"{standing.num_passed} pass"]
        if (cost := _cost_usd(self._options, standing.num_tokens)) is not None:
            parts.append(f"${cost:.2f}")
        if trouble := self._sampler.trouble():
            parts.append(printable(trouble)[:_SHOWN_TROUBLE])
        self.show("sampling", standing.num_sampled, self._plan.num_samples, "  ".join(parts))

    def show(self, title: str, num_done: int, num_all: int, text: str = "") -> None:
        if title != self._title:
            self._opened.close()
            self._title = title
            self._line = self._opened.enter_context(ProgressLine(console, title))
        self._line.update(num_done, num_all, text)


def _cost_usd(options: BenchmarkOptions, num_tokens: tuple[int, int] | None) -> float | None:
    if options.price is None or num_tokens is None:
        return None
    return sum(price * count for price, count in zip(options.price, num_tokens, strict=True)) / 1e6


def _run_info(
    options: BenchmarkOptions, settings: dict[str, Any], sampling: Sampling, samples: SampleJournal
) -> RunInfo:
    num_prompt_tokens, num_completion_tokens = samples.num_tokens or (None, None)
    return RunInfo(
        model=options.model,
        engine=options.engine,
        num_samples=sampling.num_samples,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        max_tokens=sampling.max_tokens,
        prompt_style=settings["prompt_style"],
        num_shots=options.shots,
        prompts_hash=settings["prompts_hash"],
        num_prompt_tokens=num_prompt_tokens,
        num_completion_tokens=num_completion_tokens,
        cost_usd=_cost_usd(options, samples.num_tokens),
    )
