"""What the dashboard costs: its server while ten pages look at a run of 64 slots, its pages, its table of items."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import Result, make_repository, scratch
from prodigy.report import item_table
from prodigy.store.store import Store

PAGES = 10
SLOTS = 64
WATCHED_S = 30.0
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)

_FLOW = """
name: watched
mode: mapreduce
map:
  input: seq {items}
  max_parallel: {slots}
  agent_template:
    - shell: |
        for i in 1 2 3 4 5 6 7 8; do echo "line $i of ${{item}}"; sleep {sleep_s}; done
        echo ${{item}} > out-${{item}}
"""


def watching(watched_s: float = WATCHED_S) -> list[Result]:
    """A run with 64 items at a time, and ten pages in a real browser, each in a profile of its own so that each has a
    stream. The server's share of a core is counted by the system."""
    if CHROMIUM is None:
        return []
    from playwright.sync_api import sync_playwright

    with scratch() as folder, ExitStack() as on_end:
        env = os.environ | {"PRODIGY_HOME": str(folder / "home")}
        repo = make_repository(folder, 20)
        flow = folder / "flow.yml"
        flow.write_text(_FLOW.format(items=4000, slots=SLOTS, sleep_s=2))
        _prodigy(["run", str(flow), "--detach", "--no-merge"], repo, env)
        run_id = next((folder / "home" / "runs").iterdir()).name
        on_end.callback(_prodigy, ["cancel", run_id], repo, env)
        server, link = on_end.enter_context(_server(repo, env))
        browser = on_end.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"]
        )
        on_end.callback(browser.close)
        weights, paints = [], []
        for _ in range(PAGES):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(link())
            page.goto(f"{link().split('/enter')[0]}/runs/{run_id}", wait_until="load")
            page.wait_for_timeout(300)
            weights.append(page.evaluate(_WEIGHT))
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"))
        time.sleep(5)
        before, started = _cpu_s(server), time.monotonic()
        time.sleep(watched_s)
        used, took = _cpu_s(server) - before, time.monotonic() - started
        running = _running(folder / "home" / "runs" / run_id)
        memory = psutil.Process(server).memory_info().rss / 2**20
    share = used / took * 100
    return [
        Result(
            "dashboard, server's CPU", share, 5.0, "% of a core",
            f"{PAGES} pages with a stream each, {running} items at a time, {took:.0f} s, {memory:.0f} MiB",
        ),
        Result("dashboard, weight of a run's page", max(weights) / 1000, 300.0, "kB", "all files, uncompressed"),
        Result("dashboard, first paint", sorted(paints)[PAGES // 2], 1000.0, "ms", "median of the pages, machine busy"),
    ]  # fmt: skip


_WEIGHT = """
performance.getEntriesByType('resource').filter((e) => !e.name.includes('/live'))
.reduce((sum, e) => sum + e.decodedBodySize, performance.getEntriesByType('navigation')[0].decodedBodySize)
"""


def items_table(counts: tuple[int, ...]) -> list[Result]:
    """A page of items as a run grows: what a page costs must not."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from big_runs import big_run

    results = []
    with scratch() as folder:
        env = os.environ | {"PRODIGY_HOME": str(folder / "home")}
        repo = make_repository(folder, 1)
        flow = folder / "flow.yml"
        flow.write_text(_FLOW.format(items=1, slots=1, sleep_s=0))
        _prodigy(["run", str(flow), "--no-merge"], repo, env)
        like = next((folder / "home" / "runs").iterdir()).name
        questions: dict[str, dict[str, Any]] = {
            "first page": {},
            "a page in the middle": {"number": counts[0] // 100},
            "by cost, first time": {"sort": "cost", "descending": True},
            "by a filter, first time": {"wanted": item_table.ItemFilter("item.lines > 1900 && owner == 'core'")},
        }
        times: dict[tuple[str, int], float] = {}
        for count in counts:
            big_run(folder / "home", like, f"20260101-000000-n{count}", count)
            with closing(Store.open(folder / "home" / "runs" / f"20260101-000000-n{count}")) as store:
                for name, asked in questions.items():
                    times[name, count] = min(_seconds(store, asked) for _ in range(3))
        for name in questions:
            least, most = times[name, counts[0]], times[name, counts[-1]]
            details = ", ".join(f"{count:,} items {times[name, count] * 1000:.0f} ms" for count in counts)
            grows = counts[-1] / counts[0]
            results.append(Result(f"items table, {name}", most / least, grows, f"x for {grows:g}x the items", details))
    return results


def _seconds(store: Store, asked: dict[str, Any]) -> float:
    started = time.perf_counter()
    item_table.page(store, **asked)
    return time.perf_counter() - started


@contextmanager
def _server(repo: Path, env: dict[str, str]) -> Iterator[tuple[int, Any]]:
    """(pid, what makes a link)."""
    argv = [sys.executable, "-m", "prodigy.cli.main", "dashboard", "--json", "--port", "0"]
    process = subprocess.Popen(argv, cwd=repo, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    port = json.loads(process.stdout.readline())["url"].split("/")[2].split(":")[1]

    def link() -> str:
        done = _prodigy(["dashboard", "--link", "--json", "--port", port], repo, env)
        return str(json.loads(done)["url"])

    try:
        yield process.pid, link
    finally:
        process.terminate()
        process.communicate()


def _prodigy(args: list[str], repo: Path, env: dict[str, str]) -> str:
    argv = [sys.executable, "-m", "prodigy.cli.main", *args]
    return subprocess.run(argv, cwd=repo, env=env, check=True, capture_output=True, text=True).stdout


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _running(directory: Path) -> int:
    with closing(Store.open(directory)) as store:
        return sum(count for state, count in store.counts().items() if state.value == "running")
