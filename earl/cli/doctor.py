"""`earl doctor`: what is installed and what is missing."""

import sys

import click

from earl.cli.common import json_option, print_json


@click.command()
@json_option
def command(is_json: bool) -> None:
    """Look at this machine and say how to get what is missing.

    Exit codes: 0 when all that `earl demo` needs is there, else 3.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from earl.doctor import is_healthy, run_checks

    checks = run_checks()
    is_ok = is_healthy(checks)
    if is_json:
        rows = [
            {"name": c.name, "ok": c.is_ok, "needed": c.is_needed, "version": c.version, "message": c.message}
            for c in checks
        ]
        print_json({"ok": is_ok, "checks": rows})
    else:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False)
        for heading in ("", "check", "version", ""):
            table.add_column(heading, overflow="fold")
        for check in checks:
            mark, style = ("ok", "green") if check.is_ok else ("MISSING", "red") if check.is_needed else ("-", "yellow")
            table.add_row(Text(mark, style=style), check.name, check.version, Text(check.message, style="dim"))
        console = Console(highlight=False)
        console.print(table)
        missing = [check.name for check in checks if check.is_needed and not check.is_ok]
        if missing:
            console.print(f"\n[red]not ready:[/red] {', '.join(missing)}; each line above says how to get it")
        else:
            console.print("\n[green]ready[/green] for `earl demo`")
    sys.exit(0 if is_ok else 3)
