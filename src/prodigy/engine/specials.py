"""Values that are not in the scope: `${date:...}`, `${uuid}`, `${cmd:...}`, `${file:...}`.

Each is worked out once in an execution of a step and kept with it, so that all texts of the step, and a resume, see
the same one.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.engine.bounded_files import read_regular
from prodigy.engine.environment_sources import command_output
from prodigy.errors import ProdigyError
from prodigy.workflow.interpolate import parse_placeholders, texts_in
from prodigy.workflow.model import Agent, Shell, Step, WriteFile

FILE = "resolved.json"
MAX_FILE_BYTES = 64 * 1024 * 1024


class NoSuchValue(ProdigyError):
    """There is no such value; a default takes its place."""


@dataclass
class Specials:
    """The values of one execution. root: its worktree. kept: `kind:argument` -> value."""

    root: Path
    kept: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, directory: Path, root: Path) -> Specials:
        """With what was kept in the execution's directory, if it has been started."""
        path = directory / FILE
        return cls(root, json.loads(path.read_text("utf-8")) if path.is_file() else {})

    def __call__(self, kind: str, argument: str) -> str:
        """The value, from what is kept if it is there. Raises NoSuchValue."""
        key = f"{kind}:{argument}"
        if key not in self.kept:
            self.kept[key] = self._new(kind, argument)
        return self.kept[key]

    def _new(self, kind: str, argument: str) -> str:
        match kind:
            case "uuid":
                return str(uuid.uuid4())
            case "date":
                return dt.datetime.now().astimezone().strftime(argument or "%Y-%m-%d")
            case "file":
                return self._file(argument)
        raise NoSuchValue(f"`${{{kind}:...}}` has no value here")

    def _file(self, name: str) -> str:
        """A name below the worktree must stay there, whatever links an agent made; others are the author's own."""
        try:
            given = Path(name).expanduser()
            path = self.root / given
            if not given.is_absolute() and not path.resolve().is_relative_to(self.root.resolve()):
                raise NoSuchValue(f"the file {name} leads out of the worktree")
            return read_regular(path, MAX_FILE_BYTES).decode("utf-8", "surrogateescape")
        except (OSError, ValueError, RuntimeError) as error:
            raise NoSuchValue(f"the file {name} can't be read: {error}") from error

    async def run_commands(self, step: Step, env: Mapping[str, str], shell: str) -> None:
        """Let every `${cmd:text}` in the step's texts have a value: what the shell text prints, without white space
        around it. Raises ProdigyError for a command that fails."""
        for text in _commands(step):
            if f"cmd:{text}" not in self.kept:
                try:
                    self.kept[f"cmd:{text}"] = (await command_output(text, env, self.root, shell)).strip()
                except ProdigyError as error:
                    raise ProdigyError(f"`${{cmd:{text}}}`: {error.what}", hint=error.hint) from error


def _commands(step: Step) -> list[str]:
    """The commands in the texts of a step, each once, in order."""
    texts = [text for _, text in step.policy.env]
    match step.action:
        case Shell(text=text) | Agent(prompt=text):
            texts.append(text)
        case WriteFile(path=path, content=content):
            texts += [path, *(texts_in(content) if step.action.structured else [content])]
    texts += [text for text in (step.policy.working_dir, step.capture and step.capture.file) if text]
    forms = [placeholder.form for text in texts if "${cmd:" in text for placeholder in parse_placeholders(text)]
    return list(dict.fromkeys(form.argument for form in forms if form is not None and form.kind == "cmd"))
