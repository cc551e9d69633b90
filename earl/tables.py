"""Tables for a terminal."""

from rich.table import Table

from earl.evaluate import Evaluation


def evaluation_table(columns: list[tuple[str, Evaluation]]) -> Table:
    """Pass rates with 95 % intervals, one column a policy, then greedy and sampled rates a family."""
    table = Table(title=f"{columns[0][1].summary()['num_problems']} held-out problems")
    table.add_column("")
    for name, _ in columns:
        table.add_column(name, justify="right")
    summaries = [evaluation.summary() for _, evaluation in columns]
    for key in [key for key in summaries[0] if f"{key}_ci95" in summaries[0]]:
        cells = []
        for summary in summaries:
            low, high = summary[f"{key}_ci95"]
            cells.append(f"{summary[key]:6.1%}  [{low:.1%}, {high:.1%}]")
        table.add_row(key, *cells)
    table.add_section()
    families = [evaluation.by_family() for _, evaluation in columns]
    for family in families[0]:
        cells = [f"{rows[family]['pass@1']:6.1%}  greedy {rows[family]['pass@1_greedy']:.0%}" for rows in families]
        table.add_row(f"{family} ({families[0][family]['num_problems']})", *cells)
    return table
