"""What the pages are like: large runs, hostile values, keys, narrow screens, both themes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, expect

from big_runs import big_run
from browser.conftest import Open
from dashboard_support import Dashboard
from support import Project

BIG = "20260105-080000-bigg"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{ 7 * 7 }} ${7*7} {% raw %}",
    "'); DROP TABLE item; --",
    "right\u202eto left",
    "</pre></details><hx-partial hx-target='#main'>gone</hx-partial>",
]
FLOW = """
name: <b>bold</b> & "quoted"
mode: mapreduce
map:
  input: cat "$SHARED/items.json"
  max_parallel: 2
  agent_template:
    - shell: |
        cat "$PRODIGY_ITEM_FILE"
        echo '<script>alert(3)</script>' > '<img src=x onerror=alert(4)>.html'
        git add -A && git commit -qm '<script>alert(5)</script>'
        echo "</div><script>alert(6)</script>" >&2
        exit 3
"""
SMALL = """
name: small
mode: mapreduce
map:
  input: [one]
  agent_template: [{shell: "true"}]
"""


@pytest.fixture
def small(project: Project) -> Project:
    done = project.prodigy("run", project.workflow(SMALL), "--no-merge")
    assert done.code == 0, done.err
    return project


def test_ten_thousand_items_are_paged_sorted_and_filtered(small: Project, dashboard: Dashboard, opened: Open) -> None:
    big_run(small.home, small.run_id(), BIG, 10_000)
    page = opened(dashboard, f"/runs/{BIG}")
    table, rows = page.locator("#items-table"), page.locator("#items-table tbody tr")
    expect(table).to_contain_text("all 10,000")
    expect(rows).to_have_count(50)
    table.get_by_role("link", name="Last »").click()
    expect(table).to_contain_text("page 200 of 200")
    expect(rows.last).to_contain_text("module_010000")
    page.go_back()
    expect(table).to_contain_text("page 1 of 200")
    table.get_by_role("link", name="Spent").click()
    expect(table.locator("th[aria-sort=descending]")).to_have_text("Spent ↓")
    spent = [float(text.removeprefix("$")) for text in rows.locator("td:nth-of-type(5)").all_inner_texts()]
    assert len(spent) == 50
    assert spent == sorted(spent, reverse=True)
    table.get_by_role("link", name="dead 103").click()
    expect(table).to_contain_text("page 1 of 3")
    page.get_by_placeholder("Filter, e.g.").fill("item.lines > 1000 && owner == 'core'")
    page.get_by_placeholder("Filter, e.g.").press("Enter")
    expect(table).not_to_contain_text("page 1 of 3")
    expect(rows.first).to_contain_text("command failed")
    page.get_by_placeholder("Filter, e.g.").fill("item.lines >")
    page.get_by_placeholder("Filter, e.g.").press("Enter")
    expect(table.get_by_role("alert")).to_contain_text("column 13")
    page.get_by_placeholder("Filter, e.g.").fill("")
    page.get_by_role("button", name="Filter").click()
    table.get_by_role("link", name="all 10,000").click()
    expect(table).to_contain_text("page 1 of 200")
    page.get_by_placeholder("A part of the name").fill("module_009999")
    expect(table).to_contain_text("1 item")


def test_hostile_values_are_shown_and_do_nothing(project: Project, dashboard: Dashboard, opened: Open) -> None:
    (project.folder / "items.json").write_text(json.dumps([{"id": name, "token": "hunter2"} for name in HOSTILE]))
    done = project.prodigy("run", project.workflow(FLOW), "--no-merge")
    assert done.code == 3, done.err
    page = opened(dashboard)
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    expect(page.locator("#runs")).to_contain_text('<b>bold</b> & "quoted"')
    page.locator("#runs tbody a").first.click()
    table = page.locator("#items-table")
    for name in HOSTILE[:4]:
        expect(table.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(table).to_contain_text("right\\u202eto left")
    expect(page.locator("#main")).to_be_visible()
    table.get_by_role("checkbox", name="Select all").check()
    expect(table.get_by_role("button", name="Retry selected")).to_have_text(f"Retry selected ({len(HOSTILE)})")
    for name in (HOSTILE[0], HOSTILE[5]):
        page.locator("#items-table").get_by_role("link", name=name, exact=True).click()
        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("#said")).to_contain_text("</div><script>alert(6)</script>")
        expect(page.locator("#diff")).to_contain_text("<img src=x onerror=alert(4)>.html")
        expect(page.locator("#diff tr.plus")).to_contain_text("<script>alert(3)</script>")
        page.get_by_text("The item as the workflow has it").click()
        expect(page.locator(".data")).to_contain_text('"token": "***"')
        assert "hunter2" not in page.content()
        page.go_back()
    assert page.locator("script:not([src])").count() == 0
    assert asked == []


def test_it_is_usable_by_keys_and_named_for_who_does_not_see(
    small: Project, dashboard: Dashboard, opened: Open
) -> None:
    page = opened(dashboard, f"/runs/{small.run_id()}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search items")).to_be_focused()
    page.keyboard.type("nothing like it")
    expect(page.locator("#items-table")).to_contain_text("No item fits")
    for name in ("Where you are", "Pages of this run"):
        expect(page.get_by_role("navigation", name=name)).to_be_visible()
    expect(page.get_by_role("main")).to_be_visible()
    nameless = page.evaluate(
        "[...document.querySelectorAll('a, button, input:not([type=hidden]), select, svg[role=img]')].filter(e => !("
        "e.textContent.trim() || e.ariaLabel || e.labels?.length || e.closest('label'))).map(e => e.outerHTML)"
    )
    assert nameless == []
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_have_contrast_and_narrow_screens_fit(
    small: Project, dashboard: Dashboard, opened: Open, scheme: Any
) -> None:
    run_id = small.run_id()
    page = opened(dashboard, color_scheme=scheme, viewport={"width": 390, "height": 844})
    item = f"/runs/{run_id}/items/it1/1/i0001"
    for path in ("/", f"/runs/{run_id}", f"/runs/{run_id}/merges", f"/runs/{run_id}/performance", item):
        page.goto(dashboard.url + path)
        if path.endswith("performance"):
            expect(page.locator(".report svg").first).to_be_visible(timeout=20_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert min(contrasts(page)) >= 4.5, path
    dark = sum(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")) < 384
    assert dark is (scheme == "dark")
    page.get_by_role("button", name="Light or dark").click()
    page.reload()
    after = sum(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")) < 384
    assert after is not dark


def contrasts(page: Page) -> list[float]:
    """Of every text with what is behind it, as WCAG 2 counts it."""
    found = page.evaluate(
        """() => {
        const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = (c) => { const [r, g, b] = c.map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
        const behind = (e) => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
                                if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
        const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        const texts = [...document.querySelectorAll("main *, header *")].filter(
            (e) => e.checkVisibility() && !e.disabled && !e.closest("svg, .off") && hasText(e));
        return texts.map((e) => { const a = light(numbers(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e));
                                  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
        }"""
    )
    return list(found)


def test_nothing_moves_when_numbers_do(project: Project, dashboard: Dashboard, opened: Open) -> None:
    flow = """
name: moving
mode: mapreduce
map:
  input: [a, b, c, d, e, f]
  max_parallel: 2
  agent_template:
    - shell: while [ ! -e "$SHARED/go-${item}" ]; do sleep 0.05; done
"""
    done = project.prodigy("run", project.workflow(flow), "--no-merge", "--detach")
    assert done.code == 0, done.err
    page = opened(dashboard, f"/runs/{project.run_id()}")
    expect(page.locator("#running tbody tr")).to_have_count(2)
    page.evaluate(
        "window.moved = [];"
        "new PerformanceObserver((list) => window.moved.push(...list.getEntries().map((e) => e.value)))"
        ".observe({type: 'layout-shift'})"
    )
    for number, item in enumerate("abcd", 1):
        (project.folder / f"go-{item}").touch()
        expect(page.locator("#head .cards dd").first).to_have_text(f"{number} of 6")
        expect(page.locator("#items-table")).to_contain_text(f"succeeded {number}")
    assert sum(page.evaluate("window.moved")) < 0.05  # lists grow; 0.1 is what is called good
    for item in "ef":
        (project.folder / f"go-{item}").touch()
    expect(page.locator("#head .badge")).to_have_text("completed")


def test_many_pages_of_one_browser_are_all_kept_up_to_date(
    project: Project, dashboard: Dashboard, opened: Open
) -> None:
    """A browser opens six connections to one server at the most."""
    flow = """
name: many
mode: mapreduce
map:
  input: [a, b]
  agent_template:
    - shell: while [ ! -e "$SHARED/go-${item}" ]; do sleep 0.05; done
"""
    assert project.prodigy("run", project.workflow(flow), "--no-merge", "--detach").code == 0
    first = opened(dashboard, f"/runs/{project.run_id()}")
    pages = [first, *(opened(dashboard, f"/runs/{project.run_id()}", again=first) for _ in range(7))]
    (project.folder / "go-a").touch()
    for page in pages:
        expect(page.locator("#head .cards dd").first).to_have_text("1 of 2")
    (project.folder / "go-b").touch()
    for page in pages:
        expect(page.locator("#head .badge")).to_have_text("completed")


def test_one_that_only_shows_has_nothing_to_click(small: Project, opened: Open) -> None:
    served = Dashboard(small, "--read-only")
    try:
        page = opened(served, f"/runs/{small.run_id()}")
        expect(page.get_by_text("read only")).to_be_visible()
        assert page.locator("main form[method=post] button:visible").count() == 0
    finally:
        served.close()
