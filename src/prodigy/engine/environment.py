"""The environment of a run's steps, while one process drives the run.

What can be known when the process starts is worked out once: files, secrets, static and conditional variables, and
dynamic ones that are cached. Their values stay in memory, but for the cached ones, which a resume takes from
`environment.json`. Variables that change are worked out for each execution of a step, in its worktree.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from prodigy.engine.admission import Admission
from prodigy.engine.captures import Scope
from prodigy.engine.environment_sources import Places, command_output, read_files, read_secret, too_large
from prodigy.engine.scoped import for_agent, kept
from prodigy.engine.site import Site
from prodigy.errors import ProdigyError
from prodigy.secrets import MASKS, SHORTEST, is_secret_name
from prodigy.workflow.canonical import canonical_json, short_hash
from prodigy.workflow.environment import NOTHING, Environment, Variable, changing, hidden, names, references, variables
from prodigy.workflow.expression import compile_expression, scope_finder
from prodigy.workflow.interpolate import Unresolved, interpolate_text, render
from prodigy.workflow.model import Step
from prodigy.workflow.policies import takes_no_data
from prodigy.workflow.shell_words import compile_script

CACHE = "environment.json"

# What the call and the place of a step give it, which may have the value that it has in the user's environment.
_OF_THE_CALL = frozenset({"ARG", "ARGUMENT", "FILE", "FILE_PATH", "WORKTREE", "PROJECT_ROOT"})


@dataclass(frozen=True)
class _Resolved:
    """What is known of an environment before any step. values: of files and variables, later ones over earlier ones;
    secrets: of the secret providers."""

    values: Mapping[str, str]
    secrets: Mapping[str, str]


@dataclass
class RunEnvironment:
    """Gives each step its environment.

    directory: the run's. base: what every step gets, without what the workflow says. own: names in it that git of steps
    needs. no_push: what keeps the git of agents from pushing as the user. facts: what values of variables may name
    beside variables. parameters: of the workflow. warn: takes what the user should know.
    """

    directory: Path
    places: Places
    base: Mapping[str, str]
    own: frozenset[str]
    no_push: Mapping[str, str]
    facts: Mapping[str, object]
    shell: str
    warn: Callable[[str], None]
    parameters: Mapping[str, object] = field(default_factory=dict)
    names: Mapping[str, object] = field(default_factory=dict)
    _warned_of: set[str] = field(default_factory=set)
    _known: dict[Environment, _Resolved] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def prepare(self, environment: Environment) -> None:
        """Work out what can be known before any step; `names` are then what texts of steps may use of it.

        Raises ProdigyError for a secret that is not there, a malformed file, a command that fails.
        """
        if environment == NOTHING:
            self._keep_secret(self.base)
            return
        resolved = await self._resolved(environment)
        visible = names(environment)
        self.names = {name: value for name, value in resolved.values.items() if name in visible}

    async def at_step(self, step: Step, site: Site, admission: Admission | None) -> tuple[Site, Mapping[str, str]]:
        """The site with the environment of one execution of the step, for its texts, and with the values of variables
        that change; and the environment of its process, which is less of it when the step is an agent's.

        Raises ProdigyError when one of the variables has no value.
        """
        environment = site.workflow.environment
        clear = bool(step.policy.clear_env)
        inherit = step.policy.inherit if step.policy.inherit is not None else environment.inherit is not False
        if environment == NOTHING and inherit and not clear and admission is None:
            return site, site.env
        resolved = await self._resolved(environment)
        given = {name: value for name, value in site.env.items() if self.base.get(name) != value}
        values = await self._at_step(environment, resolved, given, site.workspace.path)
        said = self._allowed(values)
        of_the_call = {name: site.env[name] for name in _OF_THE_CALL | self.parameters.keys() if name in site.env}
        added = {**of_the_call, **(kept(said) if clear else said), **given, **resolved.secrets}
        env = {**(self.base if inherit and not clear else kept(self.base)), **added}
        visible = names(environment) - site.scope.keys()
        new = {name: value for name, value in values.items() if name in visible}
        there = replace(site, env=env, scope=site.scope.with_names(new) if new else site.scope)
        if admission is None:
            return there, env
        agents = site.workflow.agents
        own = for_agent(agents, admission.name, self.base, added)
        return there, own if agents.may_push(admission.name) else {**own, **self.no_push}

    # Before any step ---------------------------------------------------------------------------------------

    async def _resolved(self, environment: Environment) -> _Resolved:
        async with self._lock:
            if environment not in self._known:
                self._known[environment] = await self._resolve(environment)
            return self._known[environment]

    async def _resolve(self, environment: Environment) -> _Resolved:
        values, notes = read_files(environment.files, self.places)
        outer = {**self.base, **self._allowed(values)}
        secrets = {}
        for secret in environment.secrets:
            secrets[secret.name] = await read_secret(secret, self.places, outer, self.shell)
        self._keep_secret({**outer, **secrets}, frozenset(secrets))
        for variable in variables(environment):
            if variable.name in changing(environment):
                continue
            known = {**self.base, **self._allowed(values), **secrets}
            values[variable.name] = await self._value(variable, known, self.places.root, cached=True)
            self._keep_secret({variable.name: values[variable.name]}, hidden(environment))
        for note in notes:
            self.warn(note)
        return _Resolved(values, secrets)

    async def _at_step(
        self, environment: Environment, resolved: _Resolved, given: Mapping[str, str], where: Path
    ) -> dict[str, str]:
        values = dict(resolved.values)
        late = changing(environment)
        for variable in variables(environment):
            if variable.name in late:
                known = {**self.base, **self._allowed(values), **given, **resolved.secrets}
                values[variable.name] = await self._value(variable, known, where, cached=False)
                self._keep_secret({variable.name: values[variable.name]}, hidden(environment))
        return values

    def _allowed(self, values: Mapping[str, str]) -> dict[str, str]:
        """What the workflow may set: the settings of git that we give to steps stay ours."""
        return {name: value for name, value in values.items() if not (name in self.own and "CONFIG" in name)}

    # Values ------------------------------------------------------------------------------------------------

    async def _value(self, variable: Variable, known: Mapping[str, str], where: Path, *, cached: bool) -> str:
        scope: dict[str, object] = {**known, "env": known, **self.facts, **self.parameters}
        try:
            if variable.command is not None:
                return await self._output(variable, variable.command, scope, known, where, cached=cached)
            text = variable.value or ""
            if variable.condition is not None and not compile_expression(variable.condition).holds(scope_finder(scope)):
                text = variable.otherwise or ""
            return _fitting(interpolate_text(text, scope, references(variable)))
        except Unresolved as error:
            hint = f"Set it, or give a default: ${{{error.path}:-...}}."
            raise ProdigyError(f"the variable {variable.name}: {error.what}", hint=hint) from error
        except ProdigyError as error:
            raise ProdigyError(f"the variable {variable.name}: {error.what}", hint=error.hint) from error

    async def _output(
        self,
        variable: Variable,
        command: str,
        scope: Mapping[str, object],
        known: Mapping[str, str],
        where: Path,
        *,
        cached: bool,
    ) -> str:
        key = short_hash(canonical_json([command, dict(self.parameters)]), 16)
        stored = _read_cache(self.directory) if cached and not variable.secret else {}
        if stored.get(variable.name, ("", ""))[0] == key:
            return stored[variable.name][1]
        bound = compile_script(command, frozenset(self.parameters)).bind(dict(scope), str(self.directory))
        text = bound.script.decode("utf-8", "surrogateescape")
        plain = {name: render(value) for name, value in self.parameters.items() if name.isidentifier()}
        plain = {name: value for name, value in plain.items() if not takes_no_data(name)}
        value = await command_output(text, {**plain, **known, **bound.env}, where, self.shell)
        if cached and not variable.secret:
            _write_cache(self.directory, {**stored, variable.name: (key, value)})
        return value

    def _keep_secret(self, values: Mapping[str, str], named: frozenset[str] = frozenset()) -> None:
        """Mask the values of secrets wherever something is shown. named: those that the workflow calls secret."""
        found = {value for name, value in values.items() if name in named or _looks_secret(name, value)}
        if found:
            MASKS.remember(self.directory, found)
        for name in sorted(named & values.keys()):
            if 0 < len(values[name]) < SHORTEST and name not in self._warned_of:
                self._warned_of.add(name)
                self.warn(
                    f"the secret {name} has fewer than {SHORTEST} characters: it can't be masked in what is shown"
                )


def not_in_scripts(environment: Environment) -> frozenset[str]:
    """Names that are no placeholders in shell text: the shell finds them in its environment."""
    return names(environment)


def hidden_values(site: Site) -> dict[str, object]:
    """What `env` of a step may name beside what every text may: the secrets."""
    return {name: site.env[name] for name in hidden(site.workflow.environment) if name in site.env}


def with_secrets(scope: Scope, site: Site) -> Scope:
    """The names for values of a step's `env`."""
    found = hidden_values(site)
    return scope.with_names(found) if found else scope


def _fitting(value: str) -> str:
    if problem := too_large(value):
        raise ProdigyError(problem)
    return value


def _looks_secret(name: str, value: str) -> bool:
    """Whether the value of a variable that nobody calls secret is one: its name says so, and it is no word or place."""
    is_place = value.startswith(("/", "~", "./", "http://", "https://"))
    return is_secret_name(name) and len(value) >= 8 and not is_place and not (value.isalpha() and len(value) < 16)


def _read_cache(directory: Path) -> dict[str, tuple[str, str]]:
    """name -> (hash of its command, value)."""
    try:
        fields = json.loads((directory / CACHE).read_bytes())
        return {str(name): (str(found["command"]), str(found["value"])) for name, found in fields.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "Remove it: the commands of cached variables then run again."
        raise ProdigyError(
            f"the cached variables can't be read: {error}", where=str(directory / CACHE), hint=hint
        ) from error


def _write_cache(directory: Path, values: Mapping[str, tuple[str, str]]) -> None:
    part = directory / f".{CACHE}.{os.getpid()}"
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({name: {"command": command, "value": value} for name, (command, value) in values.items()}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(directory / CACHE)
