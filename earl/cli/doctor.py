"""`earl doctor`: what is installed, what is missing, and whether the isolation of candidates holds."""

import sys
from typing import TYPE_CHECKING, Any

import click

from earl.cli.common import json_option, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from earl.doctor import Check, Isolation


@click.command()
@click.option("--judging", "is_judging_only", is_flag=True, help="Ask for what judging needs: no torch, no policy.")
@json_option
def command(is_judging_only: bool, is_json: bool) -> None:
    """Look at this machine, try to break the isolation of candidates, and say how to get what is missing.

    Exit codes: 0 when all that is needed is there and the isolation holds what it promises, else 3.
    """
    from rich.console import Console

    from earl.doctor import is_healthy, run_checks, try_isolation

    checks = run_checks(is_judging_only=is_judging_only)
    isolation = try_isolation()
    is_ok = is_healthy(checks) and isolation.is_sound
    if is_json:
        print_json(_document(is_ok, checks, isolation))
    else:
        console = Console(highlight=False)
        console.print(_table(checks, isolation))
        missing = [check.name for check in checks if check.is_needed and not check.is_ok]
        if not isolation.is_sound:
            missing.append(f"isolation ({isolation.problem or 'rung ' + isolation.rung})")
        ready = "judging" if is_judging_only else "`earl demo`"
        if missing:
            console.print(f"\n[red]not ready:[/red] {', '.join(missing)}; each line above says how to get it")
        else:
            console.print(f"\n[green]ready[/green] for {ready}")
    sys.exit(0 if is_ok else 3)


def _document(is_ok: bool, checks: "list[Check]", isolation: "Isolation") -> dict[str, Any]:
    rows = [
        {"name": c.name, "ok": c.is_ok, "needed": c.is_needed, "version": c.version, "message": c.message}
        for c in checks
    ]
    states = {probe.name: "held" if probe.is_held else "broken" for probe in isolation.probes}
    findings = {probe.name: probe.finding for probe in isolation.probes}
    return {
        "ok": is_ok,
        "checks": rows,
        "rung": isolation.rung,
        "isolation": states,
        "isolation_findings": findings,
        "isolation_problem": isolation.problem,
    }


def _table(checks: "list[Check]", isolation: "Isolation") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("", "check", "version", ""):
        table.add_column(heading, overflow="fold")
    for check in checks:
        mark, style = ("ok", "green") if check.is_ok else ("MISSING", "red") if check.is_needed else ("-", "yellow")
        table.add_row(Text(mark, style=style), check.name, check.version, Text(check.message, style="dim"))
    table.add_section()
    for probe in isolation.probes:
        broken = ("BROKEN", "red") if isolation.is_promised(probe) else ("broken", "yellow")
        mark, style = ("held", "green") if probe.is_held else broken
        attempt = probe.name.replace("_", " ")
        table.add_row(Text(mark, style=style), attempt, isolation.rung, Text(probe.finding, style="dim"))
    return table
