"""OpenTelemetry of real runs, at a collector that decodes what it gets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_support import script, stand_in_path
from otlp_collector import Collector, Got, collector
from support import Project

FLOW = """
name: words
setup: [{shell: printf 'one\\ntwo\\nbad\\n' > items.txt}]
map:
  input: items.txt
  max_parallel: 2
  agent_template:
    - shell: echo "$TRACEPARENT" > "$SHARED/${item}.parent"; test ${item} != bad && touch ${item} && git add ${item}
reduce: [{shell: ls}]
"""
# Held until the file `go` is there, so that the process that drives it can be killed meanwhile.
GATED = """
name: gated
map:
  input: seq 1 2
  max_parallel: 1
  agent_template:
    - shell: echo ${item} >> "$TALLY"; touch ${item}
"""


@pytest.fixture
def found() -> Iterator[Collector]:
    with collector() as listening:
        yield listening


def by_id(spans: list[Got]) -> dict[str, Got]:
    assert len({span.id for span in spans}) == len(spans), "a span was told twice"
    return {span.id: span for span in spans}


def line_of(span: Got, spans: dict[str, Got]) -> list[str]:
    """What the span is of, and what those are that it is in, up to the run."""
    line = [span.of]
    while span.parent:
        span = spans[span.parent]
        line.append(span.of)
    return line


def test_a_run_tells_its_spans_while_it_goes_on_and_the_same_ones_afterwards(
    project: Project, found: Collector
) -> None:
    done = project.prodigy("run", project.workflow(FLOW), "--yes", env=found.live)
    assert done.code == 3, done.err
    live = by_id(found.spans())
    steps = {span.attributes["prodigy.step.path"]: span for span in live.values() if span.of == "step"}
    assert line_of(steps["it1/2/i0001/a1/1/t1"], live) == ["step", "attempt", "item", "phase", "run"]
    assert line_of(steps["it1/1/t1"], live) == ["step", "phase", "run"]
    assert {span.trace for span in live.values()} == {next(iter(live.values())).trace}
    bad = next(span for span in live.values() if span.of == "item" and span.attributes["prodigy.item.label"] == "bad")
    assert (bad.status, bad.attributes["prodigy.item.state"]) == (2, "dead")
    failed = steps["it1/2/i0003/a1/1/t1"]
    assert (failed.status, failed.attributes["error.type"]) == (2, "command_failed")
    assert [name for name, _ in failed.events] == ["exception"]
    assert {about["service.name"] for about in found.resources()} == {"prodigy"}
    outcomes = {point.attributes[1].value.string_value: point.as_int for point in found.metrics()["prodigy.items"]}
    assert outcomes == {"succeeded": 2, "dead": 1}
    found.forget()
    again = project.prodigy("report", "--otel", "--json", env=found.env)
    assert again.code == 0, again.err
    assert again.json == {
        "run_id": project.run_id(), "endpoint": found.env["OTEL_EXPORTER_OTLP_ENDPOINT"],
        "trace": bad.trace, "spans": len(live), "still_open": 0,
    }  # fmt: skip
    assert by_id(found.spans()) == live


def test_a_program_that_a_step_starts_is_told_the_steps_span(project: Project, found: Collector) -> None:
    project.prodigy("run", project.workflow(FLOW), "--yes", env=found.live)
    spans = found.spans()
    (step,) = [span for span in spans if span.attributes.get("prodigy.step.path") == "it1/2/i0001/a1/1/t1"]
    assert (project.folder / "one.parent").read_text() == f"00-{step.trace}-{step.id}-01\n"


def test_nobody_is_told_anything_unless_the_user_wants_it(project: Project, found: Collector) -> None:
    assert project.prodigy("run", project.workflow(FLOW), "--yes", env=found.env).code == 3
    assert found.bodies == []
    assert (project.folder / "one.parent").read_text() == "\n"


@pytest.mark.parametrize("killed", ["after:agent_started", "after:step_finished"])
def test_a_resume_goes_on_with_the_trace_of_a_run_that_was_killed(
    project: Project, found: Collector, killed: str
) -> None:
    project.prodigy("run", project.workflow(GATED), env={**found.live, "PRODIGY_FAULT": killed})
    found.forget()
    done = project.prodigy("resume", "latest", "--yes", env=found.live)
    assert done.code == 0, done.err
    live = by_id(found.spans())
    found.forget()
    assert project.prodigy("report", "--otel", env=found.env).code == 0
    everything = by_id(found.spans())
    assert {key: everything[key] for key in live} == live
    paths = {span.attributes.get("prodigy.step.path") for span in live.values()}
    assert "it1/1/0/t1" not in paths  # the input ended before, and the process that was killed could tell of it
    sessions = [span for span in everything.values() if span.of in ("run", "session")]
    assert [line_of(span, everything) for span in sessions] == [["run"], ["session", "run"]]
    first, second = sessions
    assert (first.status, first.attributes["prodigy.run.status"]) == (2, "killed")
    assert first.end_ns <= second.start_ns
    items = [span for span in everything.values() if span.of == "item"]
    assert [span.attributes["prodigy.item.state"] for span in items] == ["succeeded", "succeeded"]
    for span in everything.values():
        assert line_of(span, everything)[-1] == "run"
    assert project.tally() == {"1": 1, "2": 1}


def test_an_item_that_is_retried_from_the_queue_is_another_span_in_the_same_phase(
    project: Project, found: Collector
) -> None:
    project.prodigy("run", project.workflow(FLOW.replace("test ${item} != bad", 'test -e "$SHARED/mended"')))
    (project.folder / "mended").touch()
    assert project.prodigy("dlq", "retry", "latest", "--yes").code == 0
    assert project.prodigy("report", "--otel", env=found.env).code == 0
    spans = by_id(found.spans())
    states = [span.attributes["prodigy.item.state"] for span in spans.values() if span.of == "item"]
    assert sorted(states) == ["dead"] * 3 + ["succeeded"] * 3
    again = [span for span in spans.values() if span.of == "attempt" and span.attributes["prodigy.attempt"] == 2]
    assert [line_of(span, spans) for span in again] == [["attempt", "item", "phase", "session", "run"]] * 3
    assert {spans[spans[span.parent].parent].name for span in again} == {"map"}


def test_an_agents_step_says_what_it_used_as_the_conventions_have_it(project: Project, found: Collector) -> None:
    project.env = {"PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}"}
    flow = project.workflow(f"steps: [{{claude: '{script({'text': 'done'})}'}}]")
    assert project.prodigy("run", flow, "--yes", env=found.live).code == 0
    (step,) = [span for span in found.spans() if span.of == "step"]
    report = project.prodigy("report", "--json").json
    (model,) = report["by_model"]
    assert step.name == "invoke_agent claude"
    assert step.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert step.attributes["gen_ai.provider.name"] == "anthropic"
    assert step.attributes["gen_ai.response.model"] == model["model"]
    assert step.attributes["gen_ai.usage.output_tokens"] == model["output"]
    read = model["input"] + model["cache_read"] + model["cache_write"]
    assert step.attributes["gen_ai.usage.input_tokens"] == read
    assert step.attributes["prodigy.cost_usd"] == pytest.approx(report["cost_usd"])
    metrics = found.metrics()
    assert sum(point.as_double for point in metrics["prodigy.cost"]) == pytest.approx(report["cost_usd"])
    assert sum(point.sum for point in metrics["gen_ai.client.token.usage"]) == read + model["output"]


def test_no_secret_leaves_the_machine(project: Project, found: Collector) -> None:
    flow = project.workflow("""
secrets: {PASS: THE_SECRET}
map:
  input: items.json
  json_path: "$[*]"
  agent_template:
    - shell: echo "it was $PASS" >&2; false
""")
    secret = "a-secret-v4lue"
    project.write("items.json", json.dumps([{"id": f"x {secret}"}, {"id": "<script>alert(1)</script>"}]))
    project.commit()
    env = {"THE_SECRET": secret}
    assert project.prodigy("run", flow, env={**found.live, **env}).code == 3
    assert project.prodigy("report", "--otel", env=found.env).code == 0
    assert found.spans()
    assert [path for path, body in found.bodies if secret.encode() in body] == []
    messages = {span.message for span in found.spans() if span.of == "step"}
    assert any("it was ***" in message for message in messages), messages


def _nobody() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_a_run_does_not_care_for_a_collector_that_is_not_there(project: Project) -> None:
    flow = project.workflow(FLOW)
    quiet = project.prodigy("run", flow, "--no-merge")
    env = {"PRODIGY_OTEL": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": _nobody()}
    alone = project.prodigy("run", flow, "--no-merge", env=env)
    assert alone.code == quiet.code == 3
    assert len(alone.err.splitlines()) == len(quiet.err.splitlines()), alone.err
    assert "Traceback" not in alone.err
    assert "opentelemetry" not in alone.err.lower()


def test_a_run_does_not_care_for_a_collector_that_refuses(project: Project) -> None:
    with collector(status=400) as found:
        done = project.prodigy("run", project.workflow(FLOW), "--yes", env=found.live)
    assert found.bodies
    assert done.code == 3
    assert "400" not in done.err


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "OTEL_EXPORTER_OTLP_ENDPOINT is not set"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
def test_what_keeps_spans_from_being_sent_is_told(project: Project, env: dict[str, str], words: str) -> None:
    flow = project.workflow(GATED)
    assert project.prodigy("run", flow, "--yes").code == 0
    refused = project.prodigy("report", "--otel", env=env)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    done = project.prodigy("run", flow, "--yes", env={**env, "PRODIGY_OTEL": "1"})
    assert done.code == 0
    assert f"PRODIGY_OTEL is set, but {refused.err.split('Error: ')[1].splitlines()[0]}" in done.err


@pytest.mark.parametrize("status", [None, 400])
def test_a_collector_that_takes_nothing_is_an_error_afterwards(project: Project, status: int | None) -> None:
    assert project.prodigy("run", project.workflow(GATED), "--yes").code == 0
    if status is None:
        url = _nobody().replace("//", "//user:hidden-word@")
        done = project.prodigy(
            "report", "--otel", env={"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"}
        )
    else:
        with collector(status) as found:
            done = project.prodigy("report", "--otel", env=found.env)
    assert (done.code, done.out) == (5, "")
    assert "did not take the spans" in done.err
    assert "hidden-word" not in done.err
    assert len(done.err.splitlines()) == 2, done.err


def test_without_the_extra_it_is_said_what_to_install_and_the_run_goes_on(project: Project, tmp_path: Path) -> None:
    package = tmp_path / "shadow" / "opentelemetry"  # stands before the installed one, and has nothing in it
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    env = {"PYTHONPATH": str(package.parent), "OTEL_EXPORTER_OTLP_ENDPOINT": _nobody(), "PRODIGY_OTEL": "1"}
    done = project.prodigy("run", project.workflow(GATED), "--yes", env=env)
    assert done.code == 0, done.err
    assert (
        'PRODIGY_OTEL is set, but OpenTelemetry is not installed. Install it: pip install "prodigy-agents[otel]"'
        in (done.err)
    )
    refused = project.prodigy("report", "--otel", env=env)
    assert refused.code == 5
    assert "prodigy-agents[otel]" in refused.err


def test_spans_of_a_run_whose_events_were_cleaned_away_are_refused(project: Project, found: Collector) -> None:
    assert project.prodigy("run", project.workflow(GATED), "--yes").code == 0
    cleaned = project.prodigy("clean", "events", "--older-than", "0s", "--yes")
    assert cleaned.code == 0, cleaned.err
    done = project.prodigy("report", project.run_id(), "--otel", env=found.env)
    assert done.code == 2, done.out
    assert "cleaned away" in done.err
    assert found.bodies == []
