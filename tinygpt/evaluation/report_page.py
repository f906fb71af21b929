"""A report card as one HTML file: no scripts, no fonts, no pictures from elsewhere; it opens without a network.

Each figure that is a share has a scale from 0 to 1 with the figure, its interval, what guessing gets, and the public
figures of others. All text that comes from outside, such as a model's name, is escaped.

Prerequisites: report_card.py. Next: cli/evaluate.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..files import printable
from .report_card import Card, aligned, shown_figure
from .suites import PARTS, Figure

__all__ = ["report_page"]

TITLES = {"capability": ("Capability", "What the model can."), "alignment": (
    "Alignment", "Whether it does what it is asked."), "safety": ("Safety", "Whether it does what it should not.")}
COLOURS = ("#1f6feb", "#c2410c")  # of the first model and the second
WIDTH = 320                       # of a scale, in pixels

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2128; background: #f6f7f9; margin: 0; }
main { max-width: 1000px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 40px 0 0; }
p.lead { margin: 0 0 12px; color: #57606a; }
.row { background: #fff; border: 1px solid #d8dee4; border-radius: 8px; padding: 14px 18px; margin: 10px 0; }
.row h3 { font-size: 15px; margin: 0 0 6px; } .blind { color: #57606a; font-size: 13px; margin: 6px 0 0; }
table { border-collapse: collapse; width: 100%; } td { padding: 3px 8px 3px 0; vertical-align: middle; }
td.name { width: 30%; } td.value { width: 24%; font-variant-numeric: tabular-nums; }
.n { color: #57606a; font-size: 13px; }
svg { display: block; max-width: 100%; } svg text { font: 10px system-ui, sans-serif; fill: #57606a; }
.key span { margin-right: 18px; white-space: nowrap; } .key b { display: inline-block; width: 10px; height: 10px;
border-radius: 5px; margin-right: 5px; } .missing { color: #57606a; font-size: 13px; } footer { margin-top: 32px;
color: #57606a; font-size: 13px; }
"""


def _x(value: float) -> float:
    return 8 + (WIDTH - 16) * min(max(value, 0.0), 1.0)


def _scale(values: Sequence[Figure | None]) -> str:
    """A scale from 0 to 1 as SVG; nothing for figures that are no shares."""
    known = [figure for figure in values if figure is not None]
    if not all(figure.interval is not None for figure in known):
        return ""
    height, parts = 14 + 12 * len(values), []
    bottom = height - 8
    parts.append(f'<line x1="{_x(0):.1f}" x2="{_x(1):.1f}" y1="{bottom}" y2="{bottom}" stroke="#d0d7de"/>')
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line x1="{_x(tick):.1f}" x2="{_x(tick):.1f}" y1="{bottom - 3}" y2="{bottom}" '
                     'stroke="#afb8c1"/>')
    if known[0].chance is not None:
        x = _x(known[0].chance)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{bottom}" stroke="#8c959f" stroke-dasharray="3 2">'
                     f'<title>chance {known[0].chance:.3f}</title></line>')
    for reference in known[0].references:
        x = _x(reference.value)
        label = escape(f"{reference.who}: {reference.value:.3f} ({reference.source})")
        parts.append(f'<path d="M {x:.1f} {bottom - 5} l 4 8 h -8 z" fill="#6e7781"><title>{label}</title></path>')
    for place, figure in enumerate(values):
        if figure is None or figure.interval is None:
            continue
        y, (low, high), colour = 8 + 12 * place, figure.interval, COLOURS[place % len(COLOURS)]
        parts.append(f'<line x1="{_x(low):.1f}" x2="{_x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
                     f'stroke-width="3" stroke-opacity="0.35"/><circle cx="{_x(figure.value):.1f}" cy="{y}" r="4" '
                     f'fill="{colour}"/>')
    label = escape("; ".join(shown_figure(figure) for figure in values))
    return (f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{label}">'
            f'{"".join(parts)}</svg>')


def _row(name: str, blind: str, figures: Sequence[tuple[str, Sequence[Figure | None]]]) -> str:
    rows = []
    for label, values in figures:
        shown = "<br>".join(f'<span style="color:{COLOURS[place % len(COLOURS)]}">{escape(shown_figure(figure))}</span>'
                            for place, figure in enumerate(values))
        known = next(figure for figure in values if figure is not None)
        wish = {"more": "↑", "less": "↓"}.get(known.better, "")
        beside = [f"{reference.who} {reference.value:.2f}" for reference in known.references]
        if known.chance is not None:
            beside.insert(0, f"chance {known.chance:.2f}")
        rows.append(f'<tr><td class="name">{escape(label)} {wish}<div class="n">of {known.n:,}</div></td>'
                    f'<td class="value">{shown}</td>'
                    f'<td>{_scale(values)}<div class="n">{escape("; ".join(beside))}</div></td></tr>')
    return (f'<div class="row"><h3>{escape(name)}</h3><table>{"".join(rows)}</table>'
            f'<p class="blind">Does not see: {escape(blind)}.</p></div>')


def report_page(cards: Sequence[Card]) -> str:
    """The page of one card, or of two side by side."""
    key = "".join(f'<span><b style="background:{COLOURS[place % len(COLOURS)]}"></b>{escape(printable(card.model))}'
                  f'</span>' for place, card in enumerate(cards))
    body = [f"<h1>Report card</h1><p class='lead'>Suite {escape(cards[0].suite)}"
            + (f", at most {cards[0].limit:,} questions a row" if cards[0].limit else "")
            + ". Dot: the figure; bar: its 95% interval; dashed line: chance; triangles: others.</p>"
            f'<p class="key">{key}</p>']
    for part in PARTS:
        title, lead = TITLES[part]
        body.append(f'<h2>{title}</h2><p class="lead">{lead}</p>')
        for line, figures in aligned(cards):
            if line.part == part and figures:
                body.append(_row(line.name, line.blind, figures))
        missing = dict.fromkeys(f"{line.name}: {line.missing}" for card in cards for line in card.lines
                                if line.part == part and line.missing)
        body += [f'<p class="missing">Not measured: {escape(printable(text))}.</p>' for text in missing]
    sources = dict.fromkeys(f"{reference.who}: {reference.source}" for card in cards for line in card.lines
                            for figure in line.figures for reference in figure.references)
    spent = "; ".join(f"{printable(card.model)}: {sum(line.seconds for line in card.lines):,.0f} s"
                      + ("" if card.megabytes is None else f", {card.megabytes:,.0f} MB at most") for card in cards)
    body.append(f"<footer><p>{escape(spent)}.</p><p>Figures of others: {escape('; '.join(sources) or 'none')}.</p>"
                "</footer>")
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width"><title>Report card</title>'
            f"<style>{STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n")
