"""From a run id to a run that can be driven: lock, database, repository, workspaces."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from os import close as close_descriptor
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import find_program
from prodigy.engine.admission import Admissions
from prodigy.engine.agent_budgets import AgentBudgets
from prodigy.engine.agent_gates import AgentGates
from prodigy.engine.checked_merges import passed
from prodigy.engine.choices import NO_CHOICES, Choices, Listener, require_ended, retired
from prodigy.engine.cleaning import How, clean, idle_for, left_on_disk
from prodigy.engine.confinement import missing_sandboxes, require_sandboxes, with_settled_places
from prodigy.engine.control import Control
from prodigy.engine.driver import driver
from prodigy.engine.environment import RunEnvironment
from prodigy.engine.environment_sources import Places
from prodigy.engine.item_keys import AttemptKey, completion, obsolete
from prodigy.engine.lodging import has_clones, lodging, workspaces
from prodigy.engine.merge_queue import NOTHING, Done, MergeQueue, Recorded
from prodigy.engine.places import fan_out_at
from prodigy.engine.refs import is_of_a_run, own_prefixes, prefix_of
from prodigy.engine.run import Options, Run, inherited_environment
from prodigy.engine.spec import request_of
from prodigy.engine.steps import StepRunner
from prodigy.engine.tamper import remember
from prodigy.engine.versions import adopt
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.executors.base import RUN_SLOT
from prodigy.executors.processes import Processes
from prodigy.executors.registry import Site
from prodigy.executors.registry import executor as make_executor
from prodigy.git import clone
from prodigy.git.context import RUN_GIT, discover
from prodigy.git.identity import agent_env, no_push_env
from prodigy.git.private import PrivateGit
from prodigy.git.ref_ledger import RefLedger
from prodigy.git.repo import RefChange, Repo
from prodigy.home import home
from prodigy.state import events as ev
from prodigy.state.step_path import parse_attempt, parse_check
from prodigy.store.lock import RunLock, take_helpers_lock
from prodigy.store.merges import check_numbered
from prodigy.store.paths import repo_key, run_directory
from prodigy.store.ports import free_blocks
from prodigy.store.rows import Intent, RunRow
from prodigy.store.store import Store
from prodigy.workflow.agent_keys import kinds
from prodigy.workflow.agent_settings import Agents, AgentSettings
from prodigy.workflow.model import Agent, Workflow
from prodigy.workflow.walk import every_step

# Bytes. A block that is larger goes back to the system when it is freed.
_LARGE_BLOCK = 512 * 1024
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def _keep_memory_flat() -> None:
    """Large blocks are to be given back at once: left to itself, glibc learns to keep them, and its heap fragments
    with every item (measured: 1.3 KB an item)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library has no such knob
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


@asynccontextmanager
async def opened_run(
    run_id: str, control: Control, listener: Listener, choices: Choices = NO_CHOICES
) -> AsyncIterator[Run]:
    """Hold a run: nobody else works on it, and nothing of an earlier coordinator but its steps still runs.

    Raises UsageError when there is no such run, RunLocked when another process works on it, EnvironmentProblem
    when the repository or the shell is not there.
    """
    _keep_memory_flat()
    directory = run_directory(run_id)
    if not directory.is_dir():
        raise UsageError(f"there is no run {run_id}", hint="`prodigy status` lists the runs.")
    with ExitStack() as stack:
        lock = stack.enter_context(RunLock(directory, force=choices.force))
        store = Store.open(directory)
        stack.callback(store.close)
        store.migrate()
        store.close_requests()  # they were for the process before us; from now on they are for us
        helpers = take_helpers_lock(directory)
        stack.callback(close_descriptor, helpers)
        store.listener = listener
        if lock.broken is not None:
            what = f"the lock of process {lock.broken.pid} on {lock.broken.host} was broken by --force"
            store.record(ev.Warned(message=f"{what}: if that process lives, steps may run twice"))
        row = store.run()
        ledger = RefLedger(own_prefixes(run_id, row.branch), row.branch)
        repo = replace(_repository(row, helpers), ledger=ledger).with_ref_writer()
        private = _private(directory, row, repo).with_reader()
        for conversation in (repo.ref_writer, private.reader):
            assert conversation is not None
            stack.callback(conversation.close)
        processes = Processes(directory / "steps", helpers)
        processes.discard_staging()
        worktrees = home() / "worktrees" / repo_key(Path(row.common_dir))
        options = choices.applied(Options.from_json(row.options))
        if choices.ended_only:
            require_ended(row)
        if choices.edited is not None:
            find_agents(choices.edited.workflow, options.agent)
            adopt(store, choices.edited, len(options.iterations()), retired(store, choices))
        version, text = store.workflow()
        workflow = with_settled_places(Workflow.model_validate_json(text), directory)
        missing = (
            frozenset[str]()
            if row.status.startswith("completed")
            else find_agents(workflow, known_agent(options.agent, workflow.agents))
        )
        ignored = [path for wanted in workspaces(workflow) for path in (*wanted.include, *wanted.keep_ignored)]
        private.exclude(ignored)
        if has_clones(workflow):
            clone.prepare(private, is_of_a_run)
        environment = _environment(store, row, options, workflow, repo, private.excludes if ignored else None)
        own = lodging(workflow, None, Path(row.repo))
        site = Site(
            run_id, repo, private, processes, worktrees, store.running_worktrees(), own, _slots_of_failed(store)
        )
        executor = make_executor(options.executor, site)
        admissions = Admissions(
            control,
            AgentGates(store),
            AgentBudgets(store, workflow, options.budget_usd, options.day_usd, options.max_parallel),
            workflow.agents,
            missing,
            options.agent,
        )
        for name in sorted(missing):
            store.record(ev.Warned(message=f"the agent {name} is not there; others take its place"))
        if not row.status.startswith("completed"):
            for message in missing_sandboxes(agents_used(workflow, options.agent)):
                store.record(ev.Warned(message=message))
        run = Run(
            id=run_id,
            store=store,
            workflow=workflow,
            workflow_version=version,
            options=options,
            max_tries=choices.max_tries,
            past_limit=choices.past_limit,
            repo=repo,
            private=private,
            executor=executor,
            merges=MergeQueue(store, repo, private, row.branch),
            steps=StepRunner(
                store,
                control,
                find_shell(),
                private,
                environment=environment,
                admissions=admissions,
                taken=_own_names(workflow),
            ),
            control=control,
            env=environment.base,
            environment=environment,
        )
        if not row.status.startswith("completed"):
            await environment.prepare(workflow.environment)
        if row.status == "new":
            _remove_old(run)
            _begin(run, row)
        try:
            yield run
        finally:
            await executor.close(keep=_kept_slots(store, workflow))
            await processes.close()
            if store.run().status.startswith("completed"):
                free_blocks(run_id)


def _kept_slots(store: Store, workflow: Workflow) -> set[str] | None:
    """The slots whose worktrees outlive this process; None: all, because attempts may be in flight, or because the
    workflow wants them to."""
    row = store.run()
    if row.status.startswith("completed"):
        return None if workflow.workspace.keep else _slots_of_failed(store)
    if row.status == "failed" and not store.running_worktrees():
        # What setup built there (and git ignores) may be needed when the failed step is tried again.
        return {RUN_SLOT, *_slots_of_failed(store)} if row.head else _slots_of_failed(store)
    return None


def _slots_of_failed(store: Store) -> set[str]:
    """Slots that dead letters name as what is left of their items."""
    prefix = f"{store.directory.name}-"
    return {Path(path).name.removeprefix(prefix) for _, path in store.kept_worktrees()}


def _remove_old(run: Run) -> None:
    """Worktrees of ended runs go when they are older than the workflow wants them to get."""
    ages = [wanted.max_age_s for wanted in workspaces(run.workflow) if wanted.max_age_s is not None]
    if not ages:
        return
    old = [left for left in left_on_disk(run.repo.common_dir) if left.run_id != run.id and idle_for(left, min(ages))]
    for verdict in clean(run.repo.common_dir, old, How(force=False, dry_run=False)):
        if verdict.kept is None:
            message = f"the worktree {verdict.left.path} of run {verdict.left.run_id} was older than max_age: removed"
            run.store.record(ev.Warned(message=message))


def _repository(row: RunRow, helpers: int) -> Repo:
    context = discover(Path(row.repo), prefix_of(row.branch))
    if str(context.repo.common_dir) != row.common_dir:
        raise EnvironmentProblem(
            "this is not the repository the run was started in any more",
            where=row.repo,
            hint=f"The run belongs to {row.common_dir}.",
        )
    return replace(context.repo, helpers_fd=helpers)


def _private(directory: Path, row: RunRow, repo: Repo) -> PrivateGit:
    path = directory / RUN_GIT
    if row.status == "new":
        shutil.rmtree(path, ignore_errors=True)  # begun by a coordinator that was killed
        return PrivateGit.create(path, repo, row.base)
    return PrivateGit.open(path, repo)


def _begin(run: Run, row: RunRow) -> None:
    """Make the run branch. A coordinator killed here finds the branch or makes it again."""
    remember(run)
    if run.repo.read_ref(row.branch) is None:
        run.repo.update_refs([RefChange(row.branch, None, row.base)])
    started = ev.JobStarted(workflow=row.workflow, base=row.base, branch=row.branch, target=row.target, **driver())
    run.store.record(started)


def _own_names(workflow: Workflow) -> frozenset[str]:
    """The ids and captures of a workflow."""
    steps = list(every_step(workflow))
    captured = {name for step in steps if step.capture for name in step.capture.names}
    return frozenset(captured | {step.id for step in steps if step.id})


def find_shell() -> str:
    """The path of bash; raises EnvironmentProblem where there is none."""
    shell = shutil.which("bash")
    if shell is None:
        raise EnvironmentProblem("bash was not found", hint="Shell steps run in bash: install it.")
    return shell


def known_agent(name: str | None, agents: Agents) -> str | None:
    """The name of an agent that the user gives; raises UsageError when there is none of that name."""
    if name is None or name in kinds() or any(settings.name == name for settings in agents.known):
        return name
    known = ", ".join([*(settings.name for settings in agents.known), *kinds()])
    raise UsageError(f"there is no agent {name}", hint=f"Known: {known}. Others are declared under `agents`.")


def agents_used(workflow: Workflow, default: str | None = None) -> list[AgentSettings]:
    """The agents that steps may be given to. default: what the user wants for steps that name none."""
    actions = [step.action for step in every_step(workflow) if isinstance(step.action, Agent)]
    names = {name for action in actions for name in workflow.agents.candidates(action.wanted or default)}
    return [workflow.agents.settings(name) for name in sorted(names)]


def permissions_note(workflow: Workflow, default: str | None = None) -> str | None:
    """One line on agents that have no sandbox; None when all have one."""
    open_ = [settings for settings in agents_used(workflow, default) if settings.sandbox is None]
    free = ", ".join(settings.name for settings in open_ if settings.permission_mode is None)
    asked = ", ".join(settings.name for settings in open_ if settings.permission_mode is not None)
    parts = [
        *([f"{free} may run any command with your rights, not only in the worktree"] if free else []),
        *([f"{asked} may do what its `permission_mode` allows, with your rights"] if asked else []),
    ]
    return f"{'; '.join(parts)}: no sandbox (`sandbox: auto` under `agents`)" if parts else None


def find_agents(workflow: Workflow, default: str | None = None) -> frozenset[str]:
    """Look for the programs of all agents, and whether they would start; the names of those that are not there while
    others can take their place. default: what the user wants for steps that name none. Raises EnvironmentProblem when
    there is none for a step, or one is to have a sandbox that is not possible here."""
    agents = workflow.agents
    actions = [step.action for step in every_step(workflow) if isinstance(step.action, Agent)]
    require_sandboxes(agents_used(workflow, default))
    missing = frozenset[str]()
    for names in sorted({agents.candidates(action.wanted or default) for action in actions}):
        problems = {}
        for name in names:
            settings = agents.settings(name)
            env = {**os.environ, **dict(settings.env)}
            adapter = agent(agents.kind(name))
            try:
                find_program(adapter, settings.command, env.get("PATH", os.defpath))
                adapter.start(request_of(settings, agents, env, prompt="?"))
            except EnvironmentProblem as problem:
                problems[name] = problem
        if len(problems) == len(names):
            raise next(iter(problems.values()))
        missing |= problems.keys()
    return missing


def _environment(
    store: Store, row: RunRow, options: Options, workflow: Workflow, repo: Repo, excludes: Path | None
) -> RunEnvironment:
    inherited = inherited_environment()
    own = agent_env(repo, inherited, excludes)
    return RunEnvironment(
        parameters={name: json.loads(text) for name, text in workflow.parameters},
        directory=store.directory,
        places=Places(Path(row.file).parent if row.file else None, Path(options.started_in), Path(row.repo)),
        base={**inherited, **own, "PRODIGY_AUTOMATION": "true", "PRODIGY_RUN_ID": row.id},
        own=frozenset(own),
        no_push=no_push_env(repo, {**inherited, **own}),
        facts={"workflow": {"name": workflow.name, "id": row.id}, "run": {"id": row.id}},
        shell=find_shell(),
        warn=lambda message: store.record(ev.Warned(message=message)),
    )


async def settle_merge(run: Run) -> None:
    """Record or repeat the merge that an earlier coordinator announced last."""

    def what_for(intent: Intent) -> tuple[Done, Recorded]:
        if (check := parse_check(intent.path)) is not None:
            return passed(run, check_numbered(run.store, *check))
        found = parse_attempt(intent.path)
        if found is None:
            return NOTHING, lambda _: ()
        item = run.store.item(found.fanout, found.ordinal)
        key = AttemptKey(*found, item.item_id, item.label)
        _, added = run.private.commits_between(intent.old, intent.new)
        commits = tuple(commit for commit in added if commit != intent.new)
        mapping = fan_out_at(run.workflow, found.fanout)
        strategy = mapping.merge.strategy if mapping else "merge"
        head = run.repo.read_ref(key.refs(run)[0])
        done = Done((head,) if head else (), obsolete(run, key, strategy))
        return done, lambda merged: completion(run.store, key, commits, merged)

    await run.merges.recover(what_for)


def new_run_id() -> str:
    """A run id that sorts by time and can stand in refs and paths: `20261124-231502-k3f9`."""
    alphabet = "23456789abcdefghjkmnpqrstuvwxyz"
    return time.strftime("%Y%m%d-%H%M%S-") + "".join(secrets.choice(alphabet) for _ in range(4))
