"""A race as one stand-alone page that can be taken home: verdict, numbers, figures, provenance.

The figures are still pictures, so that a page is small and opens without a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from bort_engine.search.scores import NAMES, OURS, Race
from bort_engine.show import race_figures
from bort_engine.show.picture import to_svg
from bort_engine.show.race import FORMATS, HEADS, provenance, table, title, verdict
from bort_engine.show.race_figures import SCORES, VIEWS

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1e2a2f; background: #fff;
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ padding: 0.3rem 0.7rem; border-bottom: 1px solid #d9ddd8; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
figure {{ margin: 1.5rem 0; }} svg {{ max-width: 100%; height: auto; }}
dt {{ font-weight: 600; }} dd {{ margin: 0 0 0.5rem 1rem; }}
</style></head><body>
<h1>{title}</h1>
<p>Errors {origin}. The FPTAS of Bort Explorer against other searches, at equal budgets.</p>
<h2>What it shows</h2><ul>{verdict}</ul>
<h2>In numbers</h2>{table}
<p>Medians over seeds. A dash: not within the budget.</p>
<h2>In figures</h2>{figures}
<h2>Where the numbers come from</h2><dl>{provenance}</dl>
</body></html>
"""


def to_html(race: Race) -> str:
    """Return one stand-alone page: verdict, numbers, figures and provenance; all text escaped."""
    figures = []
    for number, (heading, figure, summary) in enumerate(_figures(race)):
        drawing = to_svg(figure, f"figure-{number}")
        caption = f"<figcaption>{escape(summary)}</figcaption>"
        figures.append(f"<h3>{escape(heading)}</h3><figure>{drawing}{caption}</figure>")
    cells = table(race)
    for name in cells.columns.intersection(list(FORMATS)):
        cells[name] = cells[name].map(FORMATS[name].__mod__, na_action="ignore").fillna("-")
    facts = provenance(race).items()
    return PAGE.format(
        title=escape(title(race)),
        origin=escape(race.origin),
        verdict="".join(
            f"<li><b>{escape(x.head)}:</b> {escape(x.text)}</li>" for x in verdict(race)
        ),
        table=cells.to_html(index=False, border=0),
        figures="".join(figures),
        provenance="".join(f"<dt>{escape(k)}</dt><dd>{escape(text)}</dd>" for k, text in facts),
    )


def _figures(race: Race) -> Iterator[tuple[str, go.Figure, str]]:
    """Yield each figure with its heading and its message in words."""
    for by, head in HEADS.items():
        for score in SCORES:
            summary = race_figures.score_summary(race, score, by)
            figure = race_figures.score_figure(race, score, by)
            yield f"{score.label}, by {head.lower()}", figure, summary
    for view in VIEWS:
        figure = race_figures.front_figure(race, view, 0, race.budget)
        summary = race_figures.front_summary(race, 0, race.budget)
        yield f"Fronts at the end, seed 0: {view}", figure, summary
    for rival in race.searchers[1:] or (OURS,):
        figure = race_figures.attainment_figure(race, rival)
        summary = race_figures.attainment_summary(race, rival)
        yield f"Attained at the end: {NAMES[rival]} and the FPTAS", figure, summary
