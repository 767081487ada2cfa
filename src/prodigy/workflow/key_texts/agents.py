"""The keys that say how agents are started."""

from __future__ import annotations

from dataclasses import replace

from prodigy.workflow import keys
from prodigy.workflow.key_texts.shapes import (
    LABEL,
    PASSED,
    VARIABLE,
    AnyText,
    Each,
    Flag,
    Key,
    Many,
    Nothing,
    Part,
    Place,
    Text,
    Time,
    choice,
    either,
)

AGENT = Place(
    "agent",
    "Agents",
    "under an agent",
    {
        "command": Key(
            Many(Text()),
            "Program and first arguments in place of the agent's own.",
            "the agent's program",
            "command: [ccr, code]",
        ),
        "args": Key(Many(Text()), "More arguments, after ours.", "none", 'args: [--max-turns, "30"]'),
        "model": Key(Text(), "Passed on to the program.", "the agent's own", "model: opus"),
        "kind": Key(
            Text(LABEL, "name"),
            "How the program is started and its output read: "
            + ", ".join(f"`{kind}`" for kind in keys.AGENT_KINDS)
            + "; installed packages may add kinds.",
            "the name",
            "kind: claude",
        ),
        "system_prompt": Key(Text(), "Added to the program's own system prompt.", "none", "system_prompt: Be brief."),
        "permission_mode": Key(
            Text(), "What the program may do, in its own words.", "everything", "permission_mode: acceptEdits"
        ),
        "push_credentials": Key(
            Flag(), "Whether it gets what you push with.", "the workflow's", "push_credentials: true"
        ),
        "env": Key(Each(AnyText(nothing=True), VARIABLE), "Variables for it alone.", "none", "env: {LEVEL: high}"),
        "pass_env": Key(
            Many(Text(PASSED, "name")),
            "More of your own variables that it gets: names, `PREFIX_*`, or `*` for all.",
            "those that its program reads",
            "pass_env: [DATABASE_URL, ACME_*]",
        ),
        "timeout": Key(Time(), "Of each of its steps without its own.", "four hours", "timeout: 30m"),
        "idle_timeout": Key(Time(), "The longest time without output.", "one hour", "idle_timeout: 5m"),
        "sandbox": Key(
            either(choice("none bwrap auto"), Part("sandbox")),
            "What it may touch: `bwrap` confines it, or nothing starts; `auto` confines it where that is possible.",
            "`none`",
            "sandbox: bwrap",
        ),
    },
    keys.AGENT,
    rules={
        "if": {"properties": {"kind": {"enum": sorted(keys.KINDS_OF_ANY_PROGRAM)}}, "required": ["kind"]},
        "then": {"required": ["command"]},
    },
    intro="Under `agents:` stands one mapping per agent, and `default`: the agent, or a list of them in order of"
    " fail-over, for steps that name none.",
)

_PLACES = Many(Text(r"^(?:/|~/|~$)(?!(?:.*/)?\.\.(?:/|$))", "path"))
SANDBOX = Place(
    "sandbox",
    "Sandbox",
    "under `sandbox`",
    {
        "use": Key(choice("bwrap auto"), "Whether it has to be possible.", "`bwrap`", "use: auto"),
        "write": Key(_PLACES, "What it may write beside its workspace.", "none", "write: [~/.npm]"),
        "read": Key(_PLACES, "What it may read though it would be hidden.", "none", "read: [~/.aws]"),
        "hide": Key(_PLACES, "What it does not see, beside the usual secrets.", "none", "hide: [~/mail]"),
        "network": Key(Flag(), "Whether it has the network.", "true", "network: false"),
        "wrapper": Key(
            Many(Text(), or_one=False, least=2),
            "A program that runs it in place of bwrap; the word `{cmd}` stands for the agent's command.",
            "none",
            'wrapper: [firejail, --quiet, "{cmd}"]',
        ),
    },
    keys.SANDBOX,
    rules={"if": {"required": ["wrapper"]}, "then": {"maxProperties": 1}, "minProperties": 1},
)

OTHER_AGENT = replace(AGENT, name="other agent", required=("kind",), hidden=True)
AGENT_PROGRAM = replace(AGENT, name="agent of any program", required=("command",), hidden=True)

AGENTS = Each(
    Part("other agent"),
    LABEL,
    "mapping of names",
    {
        "default": Key(
            Many(Text(LABEL, "name"), least=1), "What runs steps that name no agent.", "`claude`", "default: codex"
        ),
        **{
            kind: Key(
                Part("agent of any program") if kind in keys.KINDS_OF_ANY_PROGRAM else either(Part("agent"), Nothing()),
                f"The agent of kind `{kind}`.",
                "as it comes",
                f"{kind}: {{model: x}}",
            )
            for kind in keys.AGENT_KINDS
        },
    },
)

MCP_SERVER = Place(
    "mcp server",
    "MCP servers",
    "under an MCP server",
    {
        "command": Key(Many(Text()), "The program and its arguments.", "none", "command: [npx, my-server]"),
        "args": Key(Many(Text()), "More arguments.", "none", "args: [--verbose]"),
        "env": Key(Each(AnyText(nothing=True), VARIABLE), "Variables for it alone.", "none", "env: {LEVEL: high}"),
        "url": Key(Text(), "The address of a server that runs already.", "none", "url: http://localhost:8090/mcp"),
        "headers": Key(Each(Text()), "Headers of its requests.", "none", "headers: {X-Team: core}"),
    },
    keys.MCP_SERVER,
    "Servers of tools that every agent gets which takes them. One of `command` and `url` must be there.",
)

MCP_SERVERS = Each(Part("mcp server"), LABEL)

ALL = (AGENT, OTHER_AGENT, AGENT_PROGRAM, SANDBOX, MCP_SERVER)
