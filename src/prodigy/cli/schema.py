"""`schema`: the JSON Schema of workflow files, for editors."""

from __future__ import annotations

import json

import click

from prodigy.workflow.schema import workflow_schema


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema (draft 2020-12) of workflow files.

    An editor that knows YAML checks and completes with it, e.g. with a first line
    `# yaml-language-server: $schema=prodigy.schema.json` in a workflow.
    """
    click.echo(json.dumps(workflow_schema(), indent=2, ensure_ascii=False))
