"""The command line. One file a command; a command's heavy imports are inside its body, so that help is instant."""

import importlib
import sys
from collections.abc import Sequence

import click

from toolchain.errors import EarlError

_COMMANDS = {  # name -> (module, one line for --help)
    "doctor": ("earl.cli.doctor", "Say what is installed and what is missing."),
    "problems": ("earl.cli.problems", "List families, make problem sets, prove problems."),
    "verify": ("earl.cli.verify", "Judge one candidate and show why."),
    "sft": ("earl.cli.sft", "Train a policy on prompts and completions: the warm start."),
    "plan": ("earl.cli.plan", "Say what a run will take, and all that is wrong with its config."),
    "train": ("earl.cli.train", "Train a policy by RL with verifiable rewards."),
    "rollouts": ("earl.cli.rollouts", "Sample for a trainer that runs elsewhere."),
    "distil": ("earl.cli.distil", "Train a policy on its own verified completions."),
    "merge": ("earl.cli.merge", "Write a policy with an adapter as one whole model."),
    "score": ("earl.cli.score", "Score completions of a benchmark."),
    "bench": ("earl.cli.bench", "Find the weak testbenches of a benchmark."),
    "eval": ("earl.cli.eval", "Measure a policy on held-out problems."),
    "compare": ("earl.cli.compare", "Compare two results; fail on a regression."),
    "serve": ("earl.cli.serve", "Serve verdicts over HTTP."),
    "report": ("earl.cli.report", "Write pages of a run, of results, of many results."),
    "demo": ("earl.cli.demo", "Warm start, evaluate, train, evaluate, report: the whole job."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return importlib.import_module(_COMMANDS[cmd_name][0]).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="earl-rtl", prog_name="earl")
def cli() -> None:
    """EARL: reinforcement learning of language models that write Verilog, judged by real simulators.

    Exit codes: 0 ok, 1 regression or failed check, 2 usage, 3 infrastructure.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one clear line for an error of ours, and its exit code."""
    try:
        # Outside standalone mode click returns the code of an Exit instead of raising it.
        code = cli.main(args=arguments, prog_name="earl", standalone_mode=False)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EarlError as error:
        click.echo(f"earl: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, mostly: what was written before it is whole
        click.echo(
            f"earl: {error.strerror or error}: {error.filename or 'while writing'}; free space or check it", err=True
        )
        sys.exit(3)
    sys.exit(code if isinstance(code, int) else 0)
