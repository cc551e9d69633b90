"""The report of a run: one HTML file with what was learnt, what it cost, and which tokens decided it.

It shows what the run folder holds and names what is missing. It runs no model and judges nothing again.
"""

from pathlib import Path

from earl.run_folder import RunFolder


def write_report(run_path: Path) -> Path:
    """Write `<run>/report.html`, a single file without scripts or outside assets, and return its path.

    Raises:
        UsageError: the folder is no run, or a file in it is damaged.
        InfrastructureError: the disk refuses.
    """
    from earl.report.page import render_page
    from earl.report.run_data import read_run

    return RunFolder(run_path).write_text("report.html", render_page(read_run(run_path)))
