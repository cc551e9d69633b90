"""Puts the parts of a report together: figures, words and samples into the template, all text escaped."""

from typing import Any

import jinja2

from earl.report import figures, words
from earl.report.run_data import RunData
from earl.report.samples import choose_samples, load_tokenizer, token_rows
from earl.report.token_stats import TokenStats

_TOP_FRACTION = 0.2  # of tokens: the share that the method's paper trains on
_SURE_NATS = 0.01


def render_page(run: RunData) -> str:
    """The report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("earl", "report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    encoder = load_tokenizer(run) if run.completion_files else None
    page = environment.get_template("report.html").render(
        name=run.path.resolve().name,
        config=run.config,
        config_text=run.config_text,
        verdict=words.verdict(run),
        scores=words.score_rows(run),
        families=words.family_rows(run),
        curves=figures.learning_curves(run.steps) if run.steps else None,
        warm_start=figures.warm_start_curve(run.warm_start) if run.warm_start else None,
        outcomes=figures.outcomes(run.steps) if run.steps else None,
        tokens=_token_part(run, encoder),
        samples=choose_samples(run, encoder),
        has_tokenizer=encoder is not None,
        wall_s=run.wall_s,
        versions=run.versions,
        absent=run.absent,
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _token_part(run: RunData, encoder: Any | None) -> dict[str, Any] | None:
    """The figure by class and its tables; None when no completion was trained on."""
    stats = TokenStats.of(run.completion_files)
    classes = stats.classes()
    if not classes:
        return None
    ends = [TokenStats.of(files).classes() for files in (run.completion_files[:1], run.completion_files[-1:])]
    return {
        "figure": figures.entropy_by_class(classes, stats.total),
        "classes": classes,
        "first": ends[0],
        "last": ends[1],
        "total": stats.total,
        "top_fraction": _TOP_FRACTION,
        "top_share": stats.entropy_share_of_top(_TOP_FRACTION),
        "sure_nats": _SURE_NATS,
        "sure_share": stats.share_below(_SURE_NATS),
        "top_tokens": token_rows(stats, encoder) if encoder is not None else None,
    }
