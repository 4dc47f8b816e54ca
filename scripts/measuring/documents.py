"""Writes the measurements into docs/: the part between two marks in performance.md, and charts."""
import os

from binaries import ROOT

from . import chart, report

DOCUMENT = os.path.join(ROOT, "docs", "performance.md")
BEGIN = "<!-- From here on scripts/bench writes; what stands here is lost. -->"
END = "<!-- Up to here. -->"
CHARTS = [("does", "throughput.svg", "What it does: longer is better"),
          ("costs", "cost.svg", "What it costs: shorter is better")]


def write(rows, runs_by_title, facts, how):
    """`how` is a sentence about the measurement: how long, how many pairs."""
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    images = []
    for name, file_name, heading in CHARTS:
        groups = chart_groups(rows, name)
        if groups:
            with open(os.path.join(ROOT, "docs", file_name), "w", encoding="utf-8") as file:
                file.write(chart.bars(heading, groups))
            images.append("![%s](%s)" % (heading, file_name))
    parts = [how, "\n".join("- %s: %s" % tuple(fact) for fact in facts), "\n".join(images),
             report.summary(rows) + ".", report.markdown(rows)]
    disturbed = report.disturbed(runs_by_title)
    if disturbed:
        parts.append("Something else used the machine during %s." % "; ".join(disturbed))
    failures = report.failures(runs_by_title)
    if failures:
        parts.append("Failed:\n\n" + "\n".join("- " + failure for failure in failures))
    block = "\n\n".join(part for part in parts if part)
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + "\n\n" + block + "\n\n" + END + after)


def chart_groups(rows, name):
    """Per row and figure of this chart: Fanal first, then each peer."""
    groups = []
    for figures in rows:
        drawn = {}
        for measured in figures:
            figure = measured.figure
            if figure.chart != name or measured.own is None or measured.others is None:
                continue
            entries = drawn.setdefault(figure.name,
                                       [("Fanal", measured.own, figure.form(measured.own))])
            entries.append((figure.other, measured.others, figure.form(measured.others)))
        groups += [("%s: %s" % (figures[0].row.title, figure), entries)
                   for figure, entries in drawn.items()]
    return groups
