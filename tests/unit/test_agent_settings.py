"""`agents`, `mcp_servers`, `budget` and configuration files, as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodigy.errors import UsageError, WorkflowError
from prodigy.workflow.agent_settings import Agents, AgentSettings, Budget, McpServer, Sandbox
from prodigy.workflow.configuration import Configuration, read_configuration
from prodigy.workflow.load import LoadOptions, parse
from prodigy.workflow.model import MapReduce

STEPS = "steps: [{claude: a}]\n"


def test_everything_that_can_be_said_of_an_agent() -> None:
    text = """
agents:
  default: [claude, fast]
  fast:
    kind: codex
    command: [npx, codex]
    args: -v
    model: m
    env: {LEVEL: high}
    timeout: 30m
    idle_timeout: 5m
    system_prompt: Be brief.
    permission_mode: read-only
mcp_servers:
  docs: {command: docs-mcp, args: [-v], env: {A: b}}
  web: {url: "http://localhost:1/mcp", headers: {X-Team: core}}
"""
    agents = parse(text + STEPS, "w.yml").workflow.agents
    fast = AgentSettings(
        name="fast", kind="codex", command=("npx", "codex"), args=("-v",), model="m", env=(("LEVEL", "high"),),
        timeout_s=1800, idle_timeout_s=300, system_prompt="Be brief.", permission_mode="read-only",
    )  # fmt: skip
    servers = (
        McpServer(name="docs", command=("docs-mcp", "-v"), env=(("A", "b"),)),
        McpServer(name="web", url="http://localhost:1/mcp", headers=(("X-Team", "core"),)),
    )
    assert agents == Agents(known=(fast,), default=("claude", "fast"), mcp=servers)
    assert (agents.kind("fast"), agents.kind("gemini")) == ("codex", "gemini")
    assert agents.candidates(None) == ("claude", "fast")
    assert agents.candidates("fast") == ("fast",)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("agents: {fast: {model: x}}", 10, "the agent `fast` has no `kind`"),
        ("agents: {fast: {kind: codx}}", 23, "`kind` must be one of"),
        ("agents: {own: {kind: command}}", 10, "the agent `own` has no `command`"),
        ("agents: {default: claud}", 19, "there is no agent `claud`"),
        ("agents: {claude: {modle: x}}", 19, "did you mean `model`?"),
        ("mcp_servers: {docs: {}}", 15, "`docs` needs one of `command` and `url`"),
        ("mcp_servers: {docs: {command: a, url: b}}", 15, "`docs` needs one of `command` and `url`"),
        ("budget: {max_cost_usd: 0}", 24, "`max_cost_usd` must be a number"),
        ("budget: {max_cost: 5}", 10, "did you mean `max_cost_usd`?"),
        ("budget: {}", 9, "`budget` says no limit"),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, column: int, message: str) -> None:
    with pytest.raises(WorkflowError) as error:
        parse(f"{text}\n{STEPS}", "w.yml")
    (problem,) = error.value.problems
    assert message in f"{problem.message} {problem.hint}"
    assert (problem.line, problem.column) == (1, column)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("none", None),
        ("bwrap", Sandbox()),
        ("auto", Sandbox(use="auto")),
        ("{network: false}", Sandbox(network=False)),
        (
            '{use: auto, write: "~/.npm", read: [~/.aws], hide: [/srv, "~"]}',
            Sandbox(use="auto", write=("~/.npm",), read=("~/.aws",), hide=("/srv", "~")),
        ),
        (
            '{wrapper: [box, --in, "{workspace}", "{cmd}"]}',
            Sandbox(use="wrapper", wrapper=("box", "--in", "{workspace}", "{cmd}")),
        ),
    ],
)
def test_every_form_of_a_sandbox_is_read(written: str, read: Sandbox | None) -> None:
    agents = parse(f"agents: {{claude: {{sandbox: {written}}}}}\n{STEPS}", "w.yml").workflow.agents
    assert agents.settings("claude").sandbox == read


@pytest.mark.parametrize(
    ("written", "column", "message"),
    [
        ("yes", 28, "`sandbox` must be one of none, bwrap, auto"),
        ("bwarp", 28, "did you mean `bwrap`?"),
        ("{}", 28, "`sandbox` says nothing"),
        ("{writes: [/a]}", 29, "did you mean `write`?"),
        ("{write: [cache]}", 37, "`write` must name whole paths"),
        ("{hide: [/a/../b]}", 36, "`hide` must name paths without `..`"),
        ("{network: off}", 38, "write false"),
        ("{wrapper: [box]}", 38, '"{cmd}" one of them'),
        ('{wrapper: ["{cmd}"]}', 38, '"{cmd}" one of them'),
        ('{wrapper: [box, "{cmd}"], network: false}', 54, "`network` is for `bwrap`"),
    ],
)
def test_a_mistake_in_a_sandbox_is_told_at_its_place(written: str, column: int, message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        parse(f"agents: {{claude: {{sandbox: {written}}}}}\n{STEPS}", "w.yml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (1, column)
    assert message in f"{problem.message} ({problem.hint})"


def test_an_agent_with_a_sandbox_can_have_no_worktree() -> None:
    text = f"agents: {{claude: {{sandbox: auto}}}}\nworkspace: {{isolation: worktree}}\n{STEPS}"
    with pytest.raises(WorkflowError) as caught:
        parse(text, "w.yml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 24)
    assert "the agent `claude` has a sandbox" in problem.message
    assert "isolation: clone" in (problem.hint or "")


def test_a_step_that_names_an_agent_must_name_one_that_there_is() -> None:
    with pytest.raises(WorkflowError) as error:
        parse("- agent: {use: codx, prompt: a}\n", "w.yml")
    (problem,) = error.value.problems
    assert (problem.column, problem.hint) == (16, "did you mean `codex`? Others are declared under `agents`")


def test_budgets_stand_at_every_place() -> None:
    text = """
budget: {max_cost_usd: 20, max_cost_usd_per_item: 1.5, max_duration: 8h, on_exceeded: kill}
map:
  input: ls
  budget: {max_tokens: 500}
  agent_template: [{claude: a, budget: {max_cost_usd: 0.5}}]
"""
    workflow = parse(text, "w.yml").workflow
    assert workflow.budget == Budget(usd=20, usd_per_item=1.5, duration_s=8 * 3600, kill=True)
    action = workflow.steps[0].action
    assert isinstance(action, MapReduce)
    assert action.budget == Budget(tokens=500)
    assert action.template[0].policy.budget == Budget(usd=0.5)


def test_of_configurations_the_later_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, repo = tmp_path / "home", tmp_path / "repo"
    (repo / ".prodigy").mkdir(parents=True)
    home.mkdir()
    monkeypatch.setenv("PRODIGY_HOME", str(home))
    (repo / ".prodigy" / "config.yml").write_text("budget: {per_day_usd: 1}\nagents: {fast: {kind: codex, model: a}}\n")
    (home / "config.yml").write_text("budget: {per_day_usd: 2}\nclaude: {model: opus}\n")
    found = read_configuration(repo, {})
    assert found.per_day_usd == 2
    assert {settings.name for settings in found.agents.known} == {"fast", "claude"}
    assert read_configuration(repo, {"PRODIGY__BUDGET__PER_DAY_USD": "3"}).per_day_usd == 3
    assert read_configuration(None, {}).agents.settings("claude").model == "opus"
    with pytest.raises(UsageError, match="PRODIGY__BUDGIT__X"):
        read_configuration(repo, {"PRODIGY__BUDGIT__X": "3"})


def test_a_workflow_uses_the_agents_of_the_configuration_and_its_own_win() -> None:
    fast = AgentSettings(name="fast", kind="codex", model="configured")
    given = LoadOptions(agents=Agents(known=(fast, AgentSettings(name="claude", model="opus")), default=("fast",)))
    made = parse("agents: {claude: {model: sonnet}}\nsteps: [{agent: {use: fast, prompt: a}}]", "w.yml", None, given)
    agents = made.workflow.agents
    assert (agents.settings("claude").model, agents.settings("fast").model) == ("sonnet", "configured")
    assert agents.default == ("fast",)
    assert Configuration() == Configuration(Agents(), None)
