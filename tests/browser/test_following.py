"""A run in a browser, from its start to its end."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from browser.conftest import Open
from dashboard_support import Dashboard
from support import Project, git, wait_until

# Items wait for a file of their own; what is not named `ok-` fails until it is mended.
FLOW = """
name: follow me
mode: mapreduce
map:
  input: [ok-1, ok-2, ok-3, bad-1, ok-4]
  max_parallel: 2
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        echo "working on ${item}"
        while [ ! -e "$SHARED/go-${item}" ]; do sleep 0.05; done
        case "${item}" in bad-*) [ -e "$SHARED/mended" ] || { echo "it broke on line 7" >&2; exit 3; };; esac
        echo "${item}" > "made-${item}.txt"
        git add -A && git commit -qm "made ${item}"
"""


def let(project: Project, *items: str) -> None:
    for item in items:
        (project.folder / f"go-{item}").touch()


def start(project: Project) -> None:
    done = project.prodigy("run", project.workflow(FLOW), "--no-merge", "--detach")
    assert done.code == 0, done.err


def test_a_run_is_followed_from_its_start_to_its_end(project: Project, dashboard: Dashboard, opened: Open) -> None:
    page = opened(dashboard)
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    expect(page.get_by_text("prodigy init")).to_be_visible()
    start(project)
    page.get_by_role("link", name="follow me").click()
    expect(page.locator("h1")).to_have_text("follow me")
    expect(page.locator("#head .badge")).to_have_text("running")
    running = page.locator("#running tbody tr")
    expect(running).to_have_count(2)
    expect(running.first).to_contain_text("ok-1")
    let(project, "ok-1", "ok-2")
    expect(card(page, "succeeded")).to_have_text("2 of 5")
    expect(page.locator("#items-table")).to_contain_text("succeeded 2")
    page.locator("#running").get_by_role("link", name="bad-1").click()
    expect(page.locator("#said")).to_contain_text("working on bad-1")
    expect(page.locator("#story .badge").first).to_have_text("running")
    let(project, "bad-1")
    expect(page.locator("#said")).to_contain_text("it broke on line 7")  # it came while we looked
    expect(page.locator("#story .badge").first).to_have_text("dead")
    expect(page.locator(".why")).to_contain_text("command failed")
    expect(page.locator("#story")).to_contain_text("attempt 2 begins")
    let(project, "ok-3", "ok-4")
    page.get_by_role("link", name="follow me").click()
    expect(page.locator("#head .badge")).to_have_text("completed with failures")
    expect(card(page, "failed")).to_have_text("1")
    expect(page.locator("#activity")).to_contain_text("bad-1 is in the dead letter queue")
    expect(page.locator("#failures")).to_contain_text("it broke on line 7")
    expect(page.locator("#slots rect.failed")).to_have_count(1)


def test_a_dead_letter_is_retried_by_a_click_and_merged(project: Project, dashboard: Dashboard, opened: Open) -> None:
    let(project, "ok-1", "ok-2", "ok-3", "ok-4", "bad-1")
    assert project.prodigy("run", project.workflow(FLOW), "--no-merge").code == 3
    (project.folder / "mended").touch()
    page = opened(dashboard, f"/runs/{project.run_id()}?state=dead#items")
    table = page.locator("#items-table")
    button = table.get_by_role("button", name="Retry selected")
    expect(button).to_be_disabled()
    table.get_by_role("checkbox", name="Select bad-1").check()
    expect(button).to_have_text("Retry selected (1)")
    button.click()
    expect(page.locator("#notices")).to_contain_text("1 item runs again")
    expect(page.locator("#head .badge")).to_have_text("completed")
    expect(card(page, "succeeded")).to_have_text("5 of 5")
    expect(page.locator("#failures")).to_contain_text("No item is in the dead letter queue")
    assert "made-bad-1.txt" in project.files(project.run_branch())
    assert project.tally()["ok-1"] <= 1  # nothing that was finished ran again
    page.locator("#items-table").get_by_role("link", name="all 5").click()
    page.locator("#items-table").get_by_role("link", name="bad-1").click()
    expect(page.locator("#attempt-2")).to_contain_text("merged as")
    expect(page.locator("#diff")).to_contain_text("made-bad-1.txt")
    expect(page.locator("#diff tr.plus")).to_contain_text("bad-1")


def test_a_run_is_steered_and_who_did_it_is_told(project: Project, dashboard: Dashboard, opened: Open) -> None:
    start(project)
    page = opened(dashboard)
    page.get_by_role("link", name="follow me").click()
    activity = page.locator("#activity")
    expect(page.locator("#running tbody tr")).to_have_count(2)
    page.get_by_label("at a time").fill("4")
    page.locator("form[action$=width] button").click()
    expect(page.locator("#running tbody tr")).to_have_count(4)
    expect(activity).to_contain_text("From now on 4 at a time by")
    page.get_by_label("budget $").fill("12.5")
    page.locator("form[action$=budget] button").click()
    expect(card(page, "spent")).to_have_text("$0 of $12.50")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#head .badge")).to_have_text("paused")
    expect(activity).to_contain_text("Paused: nothing new starts by")
    let(project, "ok-1")
    expect(card(page, "succeeded")).to_have_text("1 of 5")
    expect(page.locator("#running tbody tr")).to_have_count(3)  # ok-4 does not start
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#running tbody tr")).to_have_count(4)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#head .badge")).to_have_text("cancelled")
    expect(activity).to_contain_text("The run was cancelled by")
    expect(activity.get_by_text("via dashboard")).to_have_count(5)
    let(project, "ok-2", "ok-3", "ok-4", "bad-1")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#head .badge")).to_have_text("completed with failures")
    events = project.prodigy("events", "ls", "--json").out
    assert '"max_parallel": 4' in events.replace("\\", "")


def test_a_page_finds_a_server_again_that_was_killed(project: Project, dashboard: Dashboard, opened: Open) -> None:
    start(project)
    page = opened(dashboard)
    page.get_by_role("link", name="follow me").click()
    expect(page.locator("#running tbody tr")).to_have_count(2)
    dashboard.kill()
    expect(page.locator("#connection")).to_be_visible()
    let(project, "ok-1", "ok-2")
    wait_until(lambda: git(project.repo, "log", "--oneline", project.run_branch()).count("made") == 2, "two are merged")
    dashboard.restart()
    expect(card(page, "succeeded")).to_have_text("2 of 5")
    expect(page.locator("#connection")).to_be_hidden()
    page.get_by_role("button", name="Pause").click()  # the session, and its forms, are good still
    expect(page.locator("#head .badge")).to_have_text("paused")


def card(page: Page, name: str) -> Locator:
    return page.locator("#head .cards > div", has=page.get_by_text(name, exact=True)).locator("dd")
