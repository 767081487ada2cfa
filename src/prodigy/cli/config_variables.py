"""Variables of the environment that begin with PRODIGY_: what each means here, or what takes its place."""

from __future__ import annotations

from difflib import get_close_matches

from prodigy.workflow.configuration_layers import PREFIX, VARIABLES

# Read by the command line itself.
OURS = {"PRODIGY_HOME": "where runs, worktrees and your configuration are; ~/.prodigy without it"}
# Put into the environment of steps; they say nothing to the command line but that it was called by a step.
FOR_STEPS = ("AUTOMATION", "RUN_ID", "WORKTREE", "SLOT", "PORT_BASE", "ITEM_ID", "ITEM_FILE", "RESULTS_FILE", "ARG",
             "VALIDATION")  # fmt: skip
# Those of the earlier system without a meaning, and what to do.
_DATABASE = "there is one embedded database, in PRODIGY_HOME"
_DASHBOARD = "`prodigy dashboard` starts it"
WITHOUT_MEANING = {
    "PRODIGY_STORAGE_TYPE": _DATABASE,
    "PRODIGY_STORAGE_PATH": _DATABASE,
    "PRODIGY_STORAGE_BASE_PATH": _DATABASE,
    "PRODIGY_STORAGE_DIR": _DATABASE,
    "PRODIGY_CLAUDE_API_KEY": "set ANTHROPIC_API_KEY, which Claude Code reads itself",
    "PRODIGY_CLAUDE_STREAMING": "streams are always read: cost, limits and results come from them",
    "PRODIGY_CLAUDE_CONSOLE_OUTPUT": "`prodigy logs --follow` shows what agents do",
    "PRODIGY_AUTO_COMMIT": "`on_uncommitted: commit` in a workflow, which is the default",
    "PRODIGY_NO_COMMIT_VALIDATION": "take `commit_required` out of the step; nothing from outside turns a check off",
    "PRODIGY_AUTO_MERGE": "`--yes` merges without asking",
    "PRODIGY_AUTO_CONFIRM": "`--yes` merges without asking",
    "PRODIGY_CONFIRM_CLEANUP": "`prodigy clean` asks; `--yes` does not",
    "PRODIGY_EDITOR": "nothing opens an editor",
    "PRODIGY_PROGRESS_MODE": "on a terminal progress is drawn, elsewhere it is one line an event",
    "PRODIGY_SHOW_RESOURCES": "`prodigy doctor` shows what the machine has",
    "PRODIGY_ENABLE_DASHBOARD": _DASHBOARD,
    "PRODIGY_WEB_DASHBOARD": _DASHBOARD,
    "PRODIGY_DASHBOARD_PORT": _DASHBOARD,
    "PRODIGY_TEST_MODE": "use a home of its own: PRODIGY_HOME=$(mktemp -d)",
    "PRODIGY_DRY_RUN": "`prodigy run --dry-run`",
    "PRODIGY_MODE": "the shape of the workflow says it",
}


def remark(name: str) -> str | None:
    """What there is to say of a variable that does nothing here; None for one that does, or is no business of ours."""
    if not name.startswith("PRODIGY_") or name.startswith((PREFIX, "PRODIGY_FAULT")):
        return None
    rest = name.removeprefix("PRODIGY_")
    if name in VARIABLES or name in OURS or rest in FOR_STEPS or rest.isdecimal():
        return None
    if name in WITHOUT_MEANING:
        return f"has no meaning here: {WITHOUT_MEANING[name]}"
    nearest = get_close_matches(name, [*VARIABLES, *OURS], 1, 0.8)
    return f"is not known{f'; did you mean {nearest[0]}?' if nearest else ''}"
