"""The keys of `workspace`."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.shapes import (
    COMMANDS,
    PATH,
    Anything,
    Flag,
    Key,
    Many,
    Part,
    Place,
    Text,
    Time,
    Whole,
    choice,
    either,
)

_MOST = 100_000
_WORD = Text(
    r"^(?!.*\.\.)(?!.*(?:\.|\.lock)$)(?!\d{8}-\d{6}-)[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
    "name",
)
_KEEP_FAILED = Key(
    either(Whole(0, _MOST), Flag()), "How many worktrees of the newest failed items stay.", "0", "keep_failed: 3"
)
_MAX_AGE = Key(Time(), "Worktrees older than this that are left behind are removed.", "none", "max_age: 7d")
_NOTHING = "Accepted, with a warning; does nothing."

WORKSPACE = Place(
    "workspace",
    "Workspace",
    "under `workspace`",
    {
        "include": Key(
            Many(PATH), "Copied from your checkout into every worktree; never committed.", "none", "include: [.env]"
        ),
        "setup": Key(
            COMMANDS,
            "Steps that run once in each worktree, before its first use; they see no captures.",
            "none",
            "setup: [{shell: npm ci}]",
        ),
        "teardown": Key(
            COMMANDS, "Steps that run before a worktree is removed.", "none", "teardown: [{shell: make clean}]"
        ),
        "keep_ignored": Key(
            Many(PATH), "Ignored paths that stay when a worktree is made fresh.", "none", "keep_ignored: [node_modules]"
        ),
        "isolation": Key(
            choice("worktree clone"),
            "Whether a workspace shares the repository's git directory (`worktree`), or has one of its own (`clone`).",
            "`worktree`; `clone` where an agent has a sandbox",
            "isolation: clone",
        ),
        "reuse": Key(
            choice("pooled fresh"),
            "Whether items use worktrees again, made fresh, or each gets a new one.",
            "`pooled`",
            "reuse: fresh",
        ),
        "name": Key(_WORD, "One worktree of this name, which stays, for all items.", "none", "name: review"),
        "keep_failed": _KEEP_FAILED,
        "keep": Key(Flag(), "Worktrees stay when the run has ended.", "false", "keep: true"),
        "max_age": _MAX_AGE,
        "limits": Key(
            Part("workspace limits"), "How many there may be, and what they take.", "none", "limits: {total: 20}"
        ),
        "strategy": Key(
            either(
                Text(r"^(?:[Oo]n_?[Dd]emand|[Pp]ooled|[Rr]euse|[Dd]edicated)$", "name"),
                Part("strategy"),
            ),
            "The earlier word for `reuse` and `name`: `on_demand`, `pooled`, `reuse`, `dedicated`.",
            "none",
            "strategy: on_demand",
            deprecated="`reuse` or `name`",
        ),
        "cleanup_policy": Key(
            Part("cleanup_policy"),
            "The earlier place of `keep_failed`, `max_age` and `keep`.",
            "none",
            "cleanup_policy: {keep_failed: true}",
            deprecated="its keys here",
        ),
        "parallel_worktrees": Key(
            Whole(), "The earlier name of `limits: {per_run}`.", "none", "parallel_worktrees: 4", deprecated="`limits`"
        ),
        "auto_cleanup": Key(Flag(), "The opposite of `keep`.", "true", "auto_cleanup: true", deprecated="`keep`"),
        "enable_cache": Key(Anything(), _NOTHING, "none", "enable_cache: true", deprecated="`keep_ignored`"),
    },
    keys.WORKSPACE,
    "At the top level and in a `map`; what a map does not say is as at the top.",
    rules={
        "allOf": [
            {"not": {"required": ["strategy", "reuse"]}},
            {"not": {"required": ["allocation_strategy", "reuse"]}},
            {"not": {"required": ["name", "reuse"], "properties": {"reuse": {"const": "fresh"}}}},
        ]
    },
)

LIMITS = Place(
    "workspace limits",
    "Workspace limits",
    "under `limits`",
    {
        "per_run": Key(Whole(), "Worktrees of one run.", "as many as run at a time, and one", "per_run: 8"),
        "total": Key(Whole(), "Worktrees of all runs.", "none", "total: 20"),
        "max_disk_mb": Key(Whole(), "What the worktrees of a run may take.", "none", "max_disk_mb: 20000"),
        "min_free_disk_mb": Key(
            Whole(),
            "What must be free for a worktree to be made, and an item to start.",
            "none",
            "min_free_disk_mb: 1024",
        ),
        "max_memory_mb": Key(Whole(), "What all items together may take.", "none", "max_memory_mb: 8000"),
        "memory_per_item_mb": Key(Whole(), "What one item takes, as a guess.", "none", "memory_per_item_mb: 500"),
        "max_cpu_percent": Key(Anything(), _NOTHING, "none", "max_cpu_percent: 80", deprecated="`max_parallel`"),
    },
    keys.WORKSPACE_LIMITS,
)

CLEANUP_POLICY = Place(
    "cleanup_policy",
    "Cleanup policy",
    "under `cleanup_policy`",
    {
        "keep_failed": _KEEP_FAILED,
        "max_age": _MAX_AGE,
        "cleanup_on_complete": Key(Flag(), "The opposite of `keep`.", "true", "cleanup_on_complete: true"),
        "auto_cleanup": Key(Flag(), "The opposite of `keep`.", "true", "auto_cleanup: true"),
        "idle_timeout_secs": Key(Anything(), _NOTHING, "none", "idle_timeout_secs: 300"),
    },
    keys.CLEANUP_POLICY,
    "Deprecated: write the keys under `workspace`.",
)

STRATEGY = Place(
    "strategy",
    "",
    "under `strategy`",
    {
        "pooled": Key(Part("pool"), "The size of the pool.", "", "pooled: {size: 4}"),
        "dedicated": Key(either(_WORD, Part("dedicated")), "The name of the worktree.", "", "dedicated: review"),
        "reuse": Key(either(_WORD, Part("dedicated")), "The name of the worktree.", "", "reuse: review"),
        "on_demand": Key(Anything(), "As without a mapping.", "", "on_demand: {}"),
    },
    rules={"minProperties": 1, "maxProperties": 1},
    hidden=True,
)
POOL = Place(
    "pool", "", "under `pooled`", {"size": Key(Whole(), "So many.", "", "size: 4")}, required=("size",), hidden=True
)
DEDICATED = Place(
    "dedicated",
    "",
    "under `dedicated`",
    {"name": Key(_WORD, "The name.", "", "name: a")},
    required=("name",),
    hidden=True,
)

ALL = (WORKSPACE, LIMITS, CLEANUP_POLICY, STRATEGY, POOL, DEDICATED)
