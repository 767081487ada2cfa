"""A workflow on the command line: a file, or the name of a template."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.workflow.files import SUFFIXES, yaml_files


def workflow_file(workflow: Path) -> Path:
    """The file that is meant. Raises UsageError for a name that is neither a file nor a template's."""
    if workflow.suffix in SUFFIXES or len(workflow.parts) != 1 or workflow.exists():
        return workflow
    from prodigy.workflow.templates import templates

    known = {each.name: each.path for each in templates(Path())}
    if workflow.name in known:
        return known[workflow.name]
    nearest = get_close_matches(workflow.name[:100], [*yaml_files(Path()), *known], 1)
    hint = f"Did you mean {printable(nearest[0])}?" if nearest else "`prodigy template list` shows the templates."
    raise UsageError("there is no such workflow file, and no such template", where=printable(str(workflow)), hint=hint)
