"""From runs to the table: medians, ratios of neighbours, verdicts; for the terminal and Markdown."""
import statistics
from dataclasses import dataclass
from typing import Optional

from .runs import OTHERS_PERCENT_MAX

HEAD = ["workload", "figure", "Fanal", "compared with", "its", "ratio", "budget", ""]
# Columns that are words, not numbers.
WORDS = (0, 1, 3, 6, 7)
COLOURS = {"pass": "\033[32m", "MISS": "\033[31m", "FAILED": "\033[31m"}
PLAIN = "\033[0m"


@dataclass
class Measured:
    """A figure of a row with what the runs gave for it."""
    row: object
    figure: object
    own: Optional[float]
    others: Optional[float]
    # Medians, lowest and highest of the ratios of neighbours.
    ratio: Optional[tuple]
    # pass, MISS, FAILED, or nothing where there is no budget.
    verdict: str

    def cells(self, first):
        figure = self.figure
        return [self.row.title if first else "", figure.name,
                figure.form(self.own) if self.own is not None else "-", figure.other or "",
                figure.form(self.others) if self.others is not None else "",
                ratio_text(self.ratio), figure.budget(), self.verdict]


def ratio_text(ratio):
    if ratio is None:
        return ""
    middle, lowest, highest = ratio
    if lowest == highest:
        return "%.2f" % middle
    return "%.2f (%.2f..%.2f)" % (middle, lowest, highest)


def evaluate(row, runs):
    """The figures of a row. A run is a dict: other (or None), own and others, each a result."""
    failed = any("failure" in run for run in runs)
    runs = [run for run in runs if "failure" not in run]
    return [measured(row, figure, runs, failed) for figure in row.figures]


def measured(row, figure, runs, failed):
    pairs = [run for run in runs if figure.other and run["other"] == figure.other]
    own = median(figure.get(run["own"]) for run in runs)
    others = median(figure.get(run["others"]) for run in pairs)
    ratio = None
    if figure.of_pair:
        own = median(figure.of_pair(run["own"], run["others"]) for run in pairs)
        others = None
    elif pairs:
        ratios = [figure.get(run["own"]) / figure.get(run["others"])
                  for run in pairs if figure.get(run["others"])]
        if ratios:
            ratio = (statistics.median(ratios), min(ratios), max(ratios))
    return Measured(row, figure, own, others, ratio, verdict(figure, own, ratio, failed))


def verdict(figure, own, ratio, failed):
    relation = figure.relation()
    if relation is None:
        return ""
    sign, limit, of_ratio = relation
    value = (ratio and ratio[0]) if of_ratio else own
    if failed or value is None:
        return "FAILED"
    return "pass" if (value >= limit if sign == ">=" else value <= limit) else "MISS"


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def lines(rows):
    """Cells of all figures, the title of a row on its first line only."""
    return [figure.cells(number == 0) for figures in rows for number, figure in enumerate(figures)]


def aligned(rows, coloured):
    cells = [HEAD] + lines(rows)
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    text = []
    for number, line in enumerate(cells):
        padded = [cell.ljust(width) if i in WORDS else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(line, widths))]
        if coloured and line[-1] in COLOURS:
            padded[-1] = COLOURS[line[-1]] + line[-1] + PLAIN
        text.append("  ".join(padded).rstrip())
        if number == 0:
            text.append("  ".join("-" * width for width in widths))
    return "\n".join(text)


def markdown(rows):
    cells = lines(rows)
    rule = ["---" if i in WORDS else "---:" for i in range(len(HEAD))]
    return "\n".join("| %s |" % " | ".join(line) for line in [HEAD, rule] + cells)


def summary(rows):
    verdicts = [figure.verdict for figures in rows for figure in figures if figure.verdict]
    return "%d of %d budgets met" % (verdicts.count("pass"), len(verdicts))


def disturbed(runs_by_title):
    """Rows in which something else used the machine, with the most that it used."""
    found = []
    for title, runs in runs_by_title.items():
        seen = [side.get("other_cpu_pct", 0) for run in runs if "failure" not in run
                for side in (run["own"], run["others"]) if side]
        if seen and max(seen) > OTHERS_PERCENT_MAX:
            found.append("%s (%.0f %% of a core)" % (title, max(seen)))
    return found


def failures(runs_by_title):
    return ["%s: %s" % (title, run["failure"])
            for title, runs in runs_by_title.items() for run in runs if "failure" in run]
