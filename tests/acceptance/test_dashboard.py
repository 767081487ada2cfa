"""The dashboard as a server: who may look, what is refused, what programs get."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from dashboard_support import Client, Dashboard
from support import Project, end_processes_of, git, make_project, wait_until

FLOW = """
name: served
mode: mapreduce
map:
  input: [good, bad, "<script>alert(1)</script>"]
  max_parallel: 3
  agent_template:
    - shell: |
        case "${item}" in bad) [ -e "$SHARED/mended" ] || { echo "API_KEY=hunter2hunter2 is wrong" >&2; exit 3; };; esac
        echo x > "made-$PRODIGY_ITEM_ID.txt"; git add -A; git commit -qm made
"""
WAITING = """
name: waiting
mode: mapreduce
map:
  input: [a, b, c]
  max_parallel: 1
  agent_template: [{shell: 'while [ ! -e "$SHARED/go" ]; do sleep 0.05; done'}]
"""


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Dashboard]]:
    """A run that is over, and a server that only looks at it."""
    project = make_project(tmp_path_factory.mktemp("dashboard"))
    assert project.prodigy("run", project.workflow(FLOW), "--no-merge").code == 3
    served = Dashboard(project)
    yield project, served
    served.close()
    end_processes_of(project.folder)


@pytest.fixture
def known(over: tuple[Project, Dashboard]) -> Client:
    """A browser that came by a link."""
    client = Client(over[1])
    assert client.get(over[1].another_link()).status == 200
    return client


# Who may look ------------------------------------------------------------------------------------------------


def test_a_link_opens_once_and_the_browser_is_known_from_then_on(over: tuple[Project, Dashboard]) -> None:
    project, served = over
    link = served.another_link()
    browser = Client(served)
    assert browser.get("/").status == 401
    entered = browser.get(link)
    assert entered.status == 200
    assert "served" in entered.text
    assert browser.get("/").status == 200
    (cookie,) = browser.cookies
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "lax"
    assert cookie.domain in ("127.0.0.1", "127.0.0.1.local")
    again = Client(served).get(link)
    assert again.status == 401
    assert "This link was used before" in again.text
    assert "prodigy dashboard --link" in again.text
    assert Client(served).get("/enter/made-up").status == 401
    assert link.rsplit("/", 1)[1] not in "".join(path.name for path in project.home.rglob("*"))  # digests only
    for part in ("dashboard", "dashboard/links", "dashboard/sessions"):
        assert stat.S_IMODE((project.home / part).stat().st_mode) == 0o700
    assert stat.S_IMODE((project.home / "dashboard" / "key").stat().st_mode) == 0o600


def test_a_link_that_nobody_opened_for_long_opens_nothing(over: tuple[Project, Dashboard]) -> None:
    project, served = over
    link = served.another_link()
    for file in (project.home / "dashboard" / "links").iterdir():
        os.utime(file, (time.time() - 3600,) * 2)
    assert Client(served).get(link).status == 401


def test_two_who_open_one_link_at_once_are_one(over: tuple[Project, Dashboard]) -> None:
    link = over[1].another_link()
    found: list[int] = []
    callers = [threading.Thread(target=lambda: found.append(Client(over[1]).get(link).status)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(found) == [200] + [401] * 7


def test_a_link_leads_to_the_run_and_never_elsewhere(over: tuple[Project, Dashboard]) -> None:
    project, served = over
    done = project.prodigy("dashboard", project.run_id()[:13], "--link", "--json", "--port", str(served.port))
    assert f"<title>served" in Client(served).get(done.json["url"]).text  # noqa: F541 - reads better
    for to in ("//evil.example/", "https://evil.example/", "/\\evil.example"):
        answer = Client(served).get(f"{served.another_link()}?to={to}")
        assert "Workflow, run or repository" in answer.text


def test_a_foreign_name_or_page_gets_nothing(over: tuple[Project, Dashboard], known: Client) -> None:
    run = f"/runs/{over[0].run_id()}"
    assert known.get("/", {"Host": "evil.example"}).status == 400
    assert known.get("/", {"Host": f"localhost:{over[1].port}"}).status in (200, 401)  # a cookie of its own
    token = form_token(known, run)
    form = [("form_token", token)]
    assert known.post(f"{run}/pause", [], {}).status == 403
    assert known.post(f"{run}/pause", [("form_token", "0" * 64)]).status == 403
    assert known.post(f"{run}/pause", form, {"Origin": "http://evil.example"}).status == 403
    assert known.post(f"{run}/pause", form, {"Sec-Fetch-Site": "cross-site"}).status == 403
    ours = known.post(f"{run}/pause", form, {"Origin": over[1].url})
    assert ours.status == 400  # it came through, and says why the run can't be paused
    assert "no process drives run" in ours.text
    assert Client(over[1]).post(f"{run}/pause", form).status == 401


def test_every_answer_forbids_what_is_not_ours(over: tuple[Project, Dashboard], known: Client) -> None:
    run = f"/runs/{over[0].run_id()}"
    pages = ("/", run, f"{run}/items/it1/1/i0001", f"{run}/merges", f"{run}/performance", "/nothing", "/static/app.js")
    for path in pages:
        answer = known.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        if path != "/static/app.js":
            assert not re.search(r"""(src|href|action)=["'](https?:)?//""", answer.text)
            assert " style=" not in answer.text
            assert "<script>" not in answer.text
            assert not re.search(r"\son[a-z]+=", answer.text)


def test_secrets_are_masked_wherever_they_are_shown(over: tuple[Project, Dashboard], known: Client) -> None:
    run = f"/runs/{over[0].run_id()}"
    key = Client(over[1], key=over[1].key)
    for path in (run, f"{run}/items/it1/1/i0002", f"{run}/items", f"{run}/performance/figures"):
        assert "hunter2" not in known.get(path).text
    assert "API_KEY=***" in known.get(f"{run}/items/it1/1/i0002").text
    for path in ("/items/it1/1/i0002", "/failures", "/events?limit=500", "/items"):
        assert "hunter2" not in key.get(f"/api{run}{path}").text


def test_what_is_missing_or_broken_is_told(over: tuple[Project, Dashboard], known: Client) -> None:
    project, _ = over
    gone = known.get("/runs/20250101-000000-none")
    assert gone.status == 404
    assert "there is no run 20250101-000000-none" in gone.text
    assert known.get(f"/runs/{project.run_id()}/items/it1/1/i0099").status in (400, 404)
    assert known.get(f"/runs/{project.run_id()}/items/what").status in (400, 404)
    assert known.get("/runs/..%2f..%2fetc/passwd").status == 404
    broken = project.home / "runs" / "20260101-000000-brok"
    broken.mkdir()
    (broken / "run.db").write_bytes(b"no database" * 1000)
    try:
        assert known.get("/").status == 200
        answer = known.get(f"/runs/{broken.name}")
        assert answer.status == 500
        assert "file is not a database" in answer.text
        assert "Traceback" not in answer.text
    finally:
        (broken / "run.db").unlink()
        broken.rmdir()


# Programs ----------------------------------------------------------------------------------------------------


def test_the_api_answers_as_its_schema_says(over: tuple[Project, Dashboard]) -> None:
    project, served = over
    program = Client(served, key=served.key)
    assert Client(served).get("/api/runs").status == 401
    assert Client(served, key="wrong").get("/api/runs").status == 401
    schema = program.get("/api").json
    validate(schema)
    looked = 0
    for path, operations in schema["paths"].items():
        if "get" not in operations:
            continue
        address = path.replace("{run_id}", project.run_id()).replace("{place}", "it1/1/i0002")
        answer = program.get(address)
        assert answer.status == 200, answer.text
        found = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json, {**found, "components": schema["components"]})
        looked += 1
    assert looked == 7
    run = f"/api/runs/{project.run_id()}"
    assert program.get(run).json["run"]["items"] == {
        "total": 3, "successful": 2, "failed": 1, "skipped": 0, "running": 0, "pending": 0,
    }  # fmt: skip
    (dead,) = program.get(f"{run}/items?filter=state%20==%20'dead'").json["items"]
    assert (dead["label"], dead["kind"], dead["attempts"]) == ("bad", "command_failed", 1)
    whole = program.get(f"{run}/items/{dead['fanout']}/i{dead['ordinal']}").json
    assert whole["next"]["when"] == "retry"
    assert whole["attempts"][0]["steps"][0]["exit_code"] == 3
    refused = program.get(f"{run}/items?filter=item.x%20==")
    assert refused.status == 400
    assert "column" in refused.json["error"]
    events = program.get(f"{run}/events?limit=3").json
    assert len(events["events"]) == 3
    assert program.get(f"{run}/events?after={events['last']}").json["events"] == []


def test_prometheus_can_read_the_metrics(project: Project) -> None:
    assert project.prodigy("run", project.workflow(WAITING), "--detach").code == 0
    served = Dashboard(project)
    try:
        program = Client(served, key=served.key)
        assert Client(served).get("/metrics").status == 401
        families = {one.name: one for one in text_string_to_metric_families(program.get("/metrics").text)}
        states = {one.labels["state"]: one.value for one in families["prodigy_runs"].samples}
        assert states["running"] == 1
        items = {one.labels["state"]: one.value for one in families["prodigy_run_items"].samples}
        assert (items["running"], items["pending"]) == (1, 2)
        assert families["prodigy_run_items"].samples[0].labels["workflow"] == "waiting"
    finally:
        (project.folder / "go").touch()
        served.close()


def test_a_program_steers_a_run_and_who_did_is_on_record(project: Project) -> None:
    assert project.prodigy("run", project.workflow(WAITING), "--detach", "--no-merge").code == 0
    served = Dashboard(project)
    try:
        program, run = Client(served, key=served.key), f"/api/runs/{project.run_id()}"
        assert program.post(f"{run}/pause").json["done"].startswith("Paused")
        assert program.get(run).json["run"]["status"] == "paused"
        assert program.post(f"{run}/budget", {"budget": 3.5}).status == 200
        assert program.post(f"{run}/width", {"width": 2}).status == 200
        for act, body, why in (
            ("width", {"width": 0}, "is no number of items"), ("width", {"wide": 2}, "wide is not known here"),
            ("budget", {"budget": "nan"}, "is no number of dollars"), ("width", {}, "is missing"),
            ("retry", {}, "is selected"),
        ):  # fmt: skip
            refused = program.post(f"{run}/{act}", body)
            assert (refused.status, why in refused.json["error"]) == (400, True), refused.text
        assert program.post(f"{run}/go-on").status == 200
        wait_until(lambda: program.get(run).json["run"]["items"]["running"] == 2, "two run at a time")
        assert program.get(run).json["budget_usd"] == 3.5
        assert program.post(f"{run}/cancel").status == 200
        wait_until(lambda: program.get(run).json["run"]["status"] == "cancelled", "it is cancelled")
        told = program.get(f"{run}/events?limit=500").json["events"]
        acts = [(one["type"], one["data"]["by"]) for one in told if one["data"].get("by")]
        assert [kind for kind, _ in acts] == ["job_held", "job_steered", "job_steered", "job_released", "job_paused"]
        assert all(by.endswith("via dashboard") for _, by in acts)
        (project.folder / "go").touch()
        assert program.post(f"{run}/go-on").status == 200  # the budget and the width are the run's by now
        wait_until(lambda: program.get(run).json["run"]["status"] == "completed", "it goes on to its end")
        assert program.get(run).json["budget_usd"] == 3.5
        assert program.get(run).json["max_parallel"] == 2
    finally:
        served.close()


def test_a_form_without_scripts_works_too(project: Project) -> None:
    assert project.prodigy("run", project.workflow(FLOW), "--no-merge").code == 3
    (project.folder / "mended").touch()
    served = Dashboard(project)
    try:
        browser, run = Client(served), f"/runs/{project.run_id()}"
        browser.get(served.link)
        answer = browser.post(f"{run}/retry", [("form_token", form_token(browser, run)), ("which", "all")])
        assert answer.status == 200  # back on the run's page
        assert "<h1><bdi>served</bdi></h1>" in answer.text
        wait_until(lambda: 'good">completed<' in browser.get(run).text, "it is retried")
        assert "made-bad.txt" in project.files(project.run_branch()) or len(project.files(project.run_branch())) == 5
    finally:
        served.close()


def test_nothing_can_be_steered_where_it_only_shows(over: tuple[Project, Dashboard]) -> None:
    project, _ = over
    served = Dashboard(project, "--read-only")
    try:
        browser, run = Client(served), f"/runs/{project.run_id()}"
        browser.get(served.link)
        refused = browser.post(f"{run}/retry", [("form_token", form_token(browser, run)), ("which", "all")])
        assert refused.status == 403
        assert "only shows" in refused.text
        assert Client(served, key=served.key).post(f"/api{run}/pause").status == 403
        assert Client(served, key=served.key).get(f"/api{run}").status == 200
    finally:
        served.close()


# The command -------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_told_and_without_a_choice_another_is_found(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = project.prodigy("dashboard", "--port", str(port))
        assert done.code == 2
        assert f"port {port} is taken" in done.err
    assert "this machine has no address 192.0.2.1" in project.prodigy("dashboard", "--host", "192.0.2.1").err
    assert project.prodigy("dashboard", "no-such-run").code == 2


def test_another_link_is_to_the_server_that_there_is(project: Project) -> None:
    refused = project.prodigy("dashboard", "--link")
    assert (refused.code, "no dashboard is served" in refused.err) == (2, True)
    served = Dashboard(project)
    try:
        told = project.prodigy("dashboard", "--link").out
        assert told.startswith(f"Dashboard: {served.url}/enter/")
        assert Client(served).get(told.split()[1]).status == 200
    finally:
        served.close()
    refused = project.prodigy("dashboard", "--link")
    assert f"no dashboard is served at port {served.port}" in refused.err


def test_ctrl_c_ends_it_and_the_run_goes_on(project: Project) -> None:
    assert project.prodigy("run", project.workflow(WAITING), "--detach", "--no-merge").code == 0
    served = Dashboard(project)
    browser = Client(served)
    browser.get(served.link)
    stream = urllib.request.Request(f"{served.url}/runs/{project.run_id()}/live?parts=head")
    browser.cookies.add_cookie_header(stream)
    with urllib.request.urlopen(stream) as streamed:  # a page that is open does not keep it
        assert streamed.readline().startswith(b"data: <hx-partial")
        assert served.close() == 0
    (project.folder / "go").touch()
    assert json.loads(project.prodigy("status", project.run_id(), "--json").out)["run_id"] == project.run_id()
    wait_until(lambda: project.prodigy("status", "--json").json[0]["status"] == "completed", "the run ends by itself")
    assert git(project.repo, "status", "--porcelain") == ""


def form_token(client: Client, page: str) -> str:
    """What the forms of a page bring along."""
    found = re.search(r'X-Form-Token": "([0-9a-f]+)"', client.get(page).text)
    assert found is not None
    return found[1]


def test_nothing_is_loaded_from_elsewhere() -> None:
    static = Path(__file__).parents[2] / "src" / "prodigy" / "web" / "static"
    for file in static.iterdir():
        text = file.read_text()
        if file.suffix in (".css", ".svg"):
            assert "url(" not in text
            assert "@import" not in text
            assert not re.search(r"https?://(?!www\.w3\.org/)", text)
