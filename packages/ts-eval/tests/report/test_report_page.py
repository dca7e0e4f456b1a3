"""The page: hostile stories, phones, one model and ten, and what stands beside a story."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ts_eval.report import render
from ts_eval.report.highlight import holds, side_by_side, with_exact
from ts_eval.report.page import _holder
from ts_eval.report.svg import _Axis, _number
from ts_eval.report.template import Cell, Table
from ts_eval.schemas import CATEGORIES, Closest, Estimate, EvalReport, Neighbours, SpanMatch, Story

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def hostile(report: EvalReport) -> EvalReport:
    model = report.models[0]
    span = SpanMatch(words=1, share=0.5, text="alert", index=1, story=f"{SCRIPT} alert")
    near = {"closest": Closest(index=0, score=0.5, text=SCRIPT), "plot": Closest(index=0, score=0.5, text=SCRIPT), "span": span}
    stories = tuple(s.model_copy(update={"text": SCRIPT + s.text, "prompt": SCRIPT, **near}) for s in model.stories)
    answers = tuple(p.model_copy(update={"completion": SCRIPT}) for p in model.prompts)
    ends = tuple(c.model_copy(update={"completion": SCRIPT}) for c in model.completions)
    changed = model.model_copy(
        update={"stories": stories, "prompts": answers, "completions": ends, "name": SCRIPT, "notes": (SCRIPT,)}
    )
    return report.model_copy(update={"models": (changed,), "command": SCRIPT})


def test_stories_are_shown_and_not_run(made):
    html = render(hostile(made[0]))
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


def test_a_command_in_a_note_is_shown_as_code(made):
    model = made[0].models[0].model_copy(update={"notes": (f"run `ts-eval judge {SCRIPT}` once",)})
    html = render(made[0].model_copy(update={"models": (model,), "judges": ("the judge; `ts-eval judge` rates",)}))
    assert "<code>ts-eval judge &lt;script&gt;" in html
    assert "<code>ts-eval judge</code> rates" in html


@pytest.mark.browser
def test_a_browser_runs_nothing(made, tmp_path):
    browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    page = tmp_path / "report.html"
    page.write_text(render(hostile(made[0])).replace("default-src 'none'; ", ""), encoding="utf-8")  # escaping alone must do
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    command = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>owned" not in dom
    assert "&lt;script&gt;document.title" in dom


def crowded(report: EvalReport, models: int) -> EvalReport:
    """So many models with long names, ratings, and texts that no line can break."""
    long = "x" * 300
    model = report.models[0]
    stories = tuple(s.model_copy(update={"text": f"{s.text} {long}"}) for s in model.stories)
    ends = tuple(c.model_copy(update={"completion": long, "prompt": long}) for c in model.completions)
    ratings = {name: Estimate(mean=5.5, sd=1, low=5, high=6, n=8) for name in CATEGORIES}
    changed = {
        "stories": stories, "completions": ends, "ratings": ratings, "location": f"/data/{long}", "parameters": 35_690_496,
        "notes": (long,), "prompts": tuple(p.model_copy(update={"completion": f"{long} {p.completion}"}) for p in model.prompts),
    }  # fmt: skip
    several = tuple(
        model.model_copy(update={**changed, "name": f"story-5m-wide-and-{'very-' * 8}long_{i}"}) for i in range(models)
    )
    return report.model_copy(update={"models": several, "command": f"ts-eval report {long}", "judges": (f"judge {long}",)})


OVERFLOWING = """
for (const d of document.querySelectorAll("details")) d.open = true;
const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
return [innerWidth, document.documentElement.scrollWidth, wide.map(e => `${e.tagName}.${e.className}: ${e.textContent.slice(0, 40)}`).slice(0, 5)];
"""


SMALLEST = """
return Math.min(...[...document.querySelectorAll("svg text")].map(text => {
  const svg = text.ownerSVGElement;
  return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
}).filter(size => size > 0));
"""
HIDDEN = (
    'return [...document.querySelectorAll("td, svg, p")].filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length'
)


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_text_of_charts_has_11_px_and_folded_parts_are_printed(made, tmp_path, chromium, width):
    page = tmp_path / "report.html"
    page.write_text(render(made[0]), encoding="utf-8")
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 600}
    )
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": []})
    chromium.get(page.as_uri())
    assert chromium.execute_script(HIDDEN) > 100, "long lists are folded"
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert chromium.execute_script(HIDDEN) == 0
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": []})
    chromium.execute_script('for (const d of document.querySelectorAll("details")) d.open = true')
    assert chromium.execute_script(SMALLEST) >= 11


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("models", [1, 10])
def test_a_phone_needs_no_sideways_scrolling(made, tmp_path, chromium, models, scheme):
    page = tmp_path / "report.html"
    page.write_text(render(crowded(made[0], models)), encoding="utf-8")
    screen = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    chromium.get(page.as_uri())
    assert chromium.execute_script(OVERFLOWING) == [360, 360, []]
    colours = (
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor].map(c => Number(c.match(/\\d+/)[0]))"
    )
    ink, ground = chromium.execute_script(colours)
    assert (ink < 60 and ground > 220) if scheme == "light" else (ink > 220 and ground < 60)


def test_the_story_with_the_longest_span_stands_beside_it_where_the_closest_has_it_not():
    span = SpanMatch(words=3, share=0.5, text="saw A big", index=7, story="Then he saw a big cat.")
    near = Closest(index=1, score=0.9, text="He saw a small cat and a big dog.")
    story = Story(prompt="", text="Tom saw A big hat.", closest=near, span=span)
    assert [(piece.text, piece.exact) for piece in _holder(story)] == [("Then he ", False), ("saw a big", True), (" cat.", False)]
    holding = near.model_copy(update={"text": "She saw, a BIG dog."})
    assert _holder(story.model_copy(update={"closest": holding})) == []
    assert _holder(story.model_copy(update={"span": None})) == []


def test_the_page_shows_the_story_that_holds_the_span(made):
    report = made[0]
    span = SpanMatch(words=2, share=0.1, text="a unicorn", index=1234, story="There was a unicorn here.")
    stories = tuple(s.model_copy(update={"span": span, "text": "He saw a unicorn."}) for s in report.models[0].stories)
    html = render(report.model_copy(update={"models": (report.models[0].model_copy(update={"stories": stories}),)}))
    assert "<b>training story with the longest exact span</b> (no. 1,234)" in html
    assert 'There was <mark class="plain exact">a unicorn</mark> here.' in html
    assert 'He saw <mark class="plain exact">a unicorn</mark>.' in html, "underlined in the model's story too"


def test_runs_of_three_words_are_marked_on_both_sides():
    left, right = side_by_side("The old dog ran home.", "An old DOG, ran away.")
    assert [p.text for p in left if p.run == 0] == ["old dog ran"]
    assert [p.text for p in right if p.run == 0] == ["old DOG, ran"]


@given(st.text("aB .", max_size=30), st.text("ab ", max_size=6), st.text("ab .", max_size=30))
def test_marking_loses_no_character_and_marks_the_span_or_nothing(text, span, other):
    pieces, _ = side_by_side(text, other)
    made = with_exact(pieces, span)
    assert "".join(p.text for p in made) == text
    exact = "".join(p.text for p in made if p.exact)
    assert exact.lower().replace(".", " ").split() == (span.split() if holds(text, span) else [])
    assert all(p.text for p in made)


def test_a_section_without_content_is_not_there_and_every_link_leads_somewhere(made):
    report = made[0]
    for shown in (report, report.model_copy(update={"models": tuple(bare(m) for m in report.models), "comparisons": ()})):
        html = render(shown)
        links = set(re.findall(r'href="#(\w+)"', html))
        sections = set(re.findall(r'<section id="(\w+)"', html))
        assert links == sections
    assert sections == {"verdict", "summary", "loss", "read", "again"}
    assert "differences" in re.findall(r'<section id="(\w+)"', render(report))


def bare(model):
    """The model with perplexity only."""
    kept = {"metrics": {k: v for k, v in model.metrics.items() if k.startswith("perplexity")}, "values": {}, "ratings": {}}
    return model.model_copy(update={**kept, "stories": (), "completions": (), "prompts": (), "neighbours": ()})


def test_one_model_and_ten_fit(made):
    report = made[0]
    model = report.models[0]
    ten = report.model_copy(update={"models": tuple(model.model_copy(update={"name": f"model {i}"}) for i in range(10))})
    html = render(ten)
    assert all(f"model {i}" in html for i in range(10))
    assert "How good is tiny?" in render(report.model_copy(update={"models": (model,)}))


def test_two_vocabularies_never_share_an_axis_in_nats(made):
    report = made[0]
    first = report.models[0]
    other = first.model_copy(update={"name": "other", "bits_scale": None})

    def units(*models):
        html = render(report.model_copy(update={"models": models}))
        return [html.count(f">{unit}</text>") for unit in ("loss, nats per token", "bits per byte")]

    assert units(first) == [1, units(first)[1]]
    in_bits = units(first)[1]
    scale, rest = first.bits_scale
    assert units(first, first) == [1, in_bits], "one vocabulary"
    assert units(first, first.model_copy(update={"bits_scale": (scale * 1.1, rest)})) == [0, in_bits + 1]
    assert units(first, other) == [2, in_bits], "a chart of its own"
    assert units(other, other.model_copy(update={"name": "third"})) == [2, in_bits]


def test_neighbouring_ticks_never_read_the_same():
    for low, high in [(2.74, 2.76), (0.0011, 0.0013), (9.83, 9.9), (0, 2_000_000), (99, 101), (10_000, 10_500)]:
        labels = [_number(tick) for tick in _Axis([low, high], 0, 1).ticks]
        assert len(set(labels)) == len(labels) >= 3, labels


def test_a_saved_table_runs_no_formula(saved_tables):
    cells = ["=1+1", "@sum", "+cmd", "-cmd", "+0.012 -0.1 … +0.2", "-0.5", "plain"]
    table = Table("t", [Cell("name"), *map(Cell, cells)], [[Cell("row"), *map(Cell, cells)]])
    (saved,) = saved_tables(f'<a download="t.csv" href="{table.csv}">').values()
    assert saved[1] == ["row", "'=1+1", "'@sum", "'+cmd", "'-cmd", "+0.012 -0.1 … +0.2", "-0.5", "plain"]


def test_words_are_shown_without_the_prompts_too(made):
    model = (
        made[0].models[0].model_copy(update={"prompts": (), "neighbours": (Neighbours(token="dog", nearest=(("cat", 0.5),)),)})
    )
    html = render(made[0].model_copy(update={"models": (model,)}))
    assert "cat 0.50" in html
    assert "<h2>Words</h2>" in html
    assert '<a href="#prompts">' in html
