"""What several commands share: options, run references, the summary for people."""

from __future__ import annotations

import datetime as dt
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import click

from prodigy import plugins
from prodigy.cli.agent_words import gate_words, spend_lines
from prodigy.cli.given import configuration, edited, given_options
from prodigy.cli.telling import quiet_option, verbose_option
from prodigy.cli.words import printable
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.git.context import NoRepository, common_dir_around
from prodigy.store import index
from prodigy.store.paths import run_directory
from prodigy.store.rows import FINISHED

if TYPE_CHECKING:  # they import the engine, which most commands do not need
    from prodigy.engine.choices import Choices

Command = TypeVar("Command", bound=Callable[..., Any])


_ON_SEVERAL_HOSTS = ("cluster", "distributed", "dask", "ray")


def _known_executor(context: click.Context, _: click.Parameter, name: str | None) -> str | None:
    """That there is one of another name is looked up where the run is made."""
    if name in _ON_SEVERAL_HOSTS and name not in plugins.names(plugins.EXECUTORS) and not context.resilient_parsing:
        raise UsageError(
            f"--executor {name}: this version runs steps on this machine only",
            hint="Leave it out, or say `--executor local`; `prodigy export` and `import` move a run to another host.",
        )
    return name


def _no_scheduler(context: click.Context, _: click.Parameter, address: str | None) -> None:
    if address is not None and not context.resilient_parsing:
        raise UsageError(
            "--scheduler goes with an executor on several hosts, which this version does not have",
            hint="Leave it out: `local` needs none.",
        )


def driving_options(command: Command) -> Command:
    """The options of every command that drives a run."""
    for option in reversed(
        (
            click.option("-y", "--yes", is_flag=True, help="Merge the result into your branch at the end."),
            click.option("--no-merge", is_flag=True, help="Leave the result on the run's branch."),
            click.option("--max-parallel", type=click.IntRange(min=1), help="How many items at a time."),
            click.option(
                "--budget",
                type=click.FloatRange(min=0, min_open=True),
                metavar="USD",
                help="What it may cost in all.",
            ),
            click.option("--agent", metavar="NAME", help="What runs the steps that name no agent."),
            click.option("--detach", is_flag=True, help="Go on in the background, without this terminal."),
            quiet_option,
            verbose_option,
            click.option(
                "--executor",
                metavar="NAME",
                callback=_known_executor,
                help="Where steps run: local, on this machine, or what another package adds.",
            ),
            click.option(
                "--scheduler",
                metavar="ADDRESS",
                expose_value=False,
                callback=_no_scheduler,
                help="Of an executor on several hosts; local has none.",
            ),
            json_option,
        )
    ):
        command = option(command)
    return command


def again_options(command: Command) -> Command:
    """The options of every command that goes on with a run that has begun."""
    for option in reversed(
        (
            click.option(
                "--max-retries", type=click.IntRange(min=1), metavar="N", help="Leave out items with N tries or more."
            ),
            click.option(
                "--workflow", "file", type=click.Path(path_type=Path), help="An edited workflow for what has not begun."
            ),
            given_options,
            click.option("--from-start", is_flag=True, help="Items that run again begin at their first step."),
            click.option("--from-failed-step", is_flag=True, help="They begin at the step that failed."),
            click.option("--force", is_flag=True, help="Take the run from a process on another host that is gone."),
        )
    ):
        command = option(command)
    return command


class AgainOptions(TypedDict):
    """What click gives of `again_options` and `driving_options`, but --detach and --json."""

    max_retries: int | None
    file: Path | None
    params: tuple[str, ...]
    param_file: Path | None
    profile: str | None
    from_start: bool
    from_failed_step: bool
    force: bool
    yes: bool
    no_merge: bool
    max_parallel: int | None
    budget: float | None
    agent: str | None
    executor: str | None


def again_choices(options: AgainOptions, run_id: str) -> Choices:
    """What the options choose for a run. Raises UsageError when they contradict each other, or `--workflow` is not in
    order."""
    from prodigy.engine.choices import Choices

    return Choices(
        merge=merge_choice(yes=options["yes"], no_merge=options["no_merge"]),
        max_parallel=options["max_parallel"],
        budget_usd=options["budget"],
        agent=options["agent"],
        executor=options["executor"],
        configured=configuration(_checkout_of(run_id)),
        items_from=_items_from(from_start=options["from_start"], from_failed_step=options["from_failed_step"]),
        max_tries=options["max_retries"],
        edited=edited(run_id, options["file"], options["params"], options["param_file"], options["profile"]),
        force=options["force"],
    )


def _checkout_of(run_id: str) -> Path:
    """Where the run's repository is: its configuration counts, wherever the user stands."""
    from prodigy.store.store import Store

    with closing(Store.open(run_directory(run_id))) as store:
        return Path(store.run().repo)


def _items_from(*, from_start: bool, from_failed_step: bool) -> str | None:
    if from_start and from_failed_step:
        raise UsageError("--from-start and --from-failed-step exclude each other", hint="Give one of them.")
    return "start" if from_start else "failed_step" if from_failed_step else None


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


def merge_choice(*, yes: bool, no_merge: bool) -> str | None:
    if yes and no_merge:
        raise UsageError("--yes and --no-merge exclude each other", hint="Give one of them.")
    return "yes" if yes else "no" if no_merge else None


def flags(choices: Choices) -> list[str]:
    """The choices as they are written on a command line."""
    words = {"yes": ["--yes"], "no": ["--no-merge"]}.get(choices.merge or "", [])
    words += {"start": ["--from-start"], "failed_step": ["--from-failed-step"]}.get(choices.items_from or "", [])
    for name, value in (
        ("--max-parallel", choices.max_parallel),
        ("--max-retries", choices.max_tries),
        ("--budget", choices.budget_usd),
        ("--agent", choices.agent),
        ("--executor", choices.executor),
    ):
        words += [name, str(value)] if value is not None else []
    words += choices.edited.words if choices.edited else ()
    words += ["--reduce"] if choices.reduce else []
    return [*words, *(["--force"] if choices.force else [])]


def resolve(reference: str) -> str:
    """The run that a reference on the command line means, for a command that only looks.

    An id, or the beginning of one, names a run of any repository; a name, a file or `latest` one of the repository the
    user stands in, and outside of any repository one of all runs. Raises UsageError when nothing or more than one fits,
    EnvironmentProblem when git refuses the repository.
    """
    return index.by_id(reference) or index.by_name(reference, here())


def resolve_to_act(reference: str) -> str:
    """As `resolve`, for a command that drives a run or takes something away: outside of any repository only an id says
    surely enough which run is meant."""
    run_id = index.by_id(reference)
    if run_id is not None:
        return run_id
    common_dir = here()
    if common_dir is None:
        raise UsageError(
            f"{printable(reference)} could be a run of any repository, and you stand in none",
            hint="Go to the repository, or give the run's id; `prodigy status` lists the runs.",
        )
    return index.by_name(reference, common_dir)


def here() -> str | None:
    """The repository the user stands in, None outside of any. Raises EnvironmentProblem when git refuses it."""
    try:
        return str(common_dir_around(Path.cwd()))
    except FileNotFoundError as error:
        raise EnvironmentProblem("the directory you stand in is gone", hint="cd to another one") from error
    except NoRepository:
        return None


class Interrupted(Exception):
    """Ctrl-C at a question."""


def confirm_merge(target: str, diffstat: str) -> bool:
    """Ask on a terminal whether to merge; elsewhere the branch is left. Raises Interrupted."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"\n{diffstat.rstrip()}", err=True)
    # The handler of the running engine would not be heard during a read.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(f"Merge this into {target}?", default=True, err=True)
    except click.Abort:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGINT, handler)


def show_summary(summary: dict[str, object], going: Iterable[str] = (), *, err: bool = False) -> None:
    """The summary for people, on stdout, or on stderr when that is for something else. going: lines on what goes on."""
    for line in _summary_lines(summary, going):
        click.echo(line, err=err)


def _summary_lines(summary: dict[str, object], going: Iterable[str]) -> Iterator[str]:
    items = cast("dict[str, int]", summary["items"])
    run_id = summary["run_id"]
    yield f"\n{summary['workflow']}: {str(summary['status']).replace('_', ' ')} (run {run_id})"
    yield from (f"  {line}" for line in going)
    if items["total"]:
        parts = [f"{count} {name}" for name, count in items.items() if count and name != "total"]
        yield f"  items: {items['total']} ({', '.join(parts)})"
    if summary["steps_run"] is not None:
        steps = f"{summary['steps_run']} run, {summary['steps_reused']} taken from before"
        yield f"  steps: {steps}, in {summary['duration_s']} s"
    if held := cast("dict[str, str] | None", summary["held"]):
        yield f"  paused by {printable(held['by'])} since {held['since'][:19].replace('T', ' ')} UTC"
    if summary["stop_reason"] not in (None, "user"):
        why = str(summary["error"]).partition("\n")[0]
        yield f"  stopped: {printable(why)} ({summary['stop_reason']})"
    if summary["tokens"] or summary["cost_usd"] != 0:
        yield from spend_lines(summary)
    for gate in cast("list[dict[str, Any]]", summary["gates"]):
        until = dt.datetime.fromisoformat(gate["until"]).timestamp()
        yield f"  {gate_words(gate['agent'], gate['cause'], until, gate['message'])}"
    yield from _queue_lines(cast("dict[str, Any]", summary["merge_queue"]))
    yield f"  branch: {summary['branch']}{_merged(summary)}"
    yield from (f"  {line}" for line in _next_steps(summary))


_QUEUED_SHOWN = 8


def _queue_lines(queue: dict[str, Any]) -> Iterator[str]:
    """What waits to be merged, and why."""
    if not queue["waiting"]:
        return
    yield f"  merge queue: {queue['waiting']} waiting, {queue['checking']} of them being checked"
    for item in queue["items"][:_QUEUED_SHOWN]:
        yield f"    {printable(item['item_id'])}: {item['why']}"
    if queue["waiting"] > _QUEUED_SHOWN:
        yield f"    and {queue['waiting'] - _QUEUED_SHOWN} more"


def show_error(summary: dict[str, object]) -> None:
    """The error that stopped a run, below its summary: as many lines as it has."""
    first, *more = str(summary["error"]).splitlines()
    click.echo(f"  error: {printable(first)}")
    for line in more:
        click.echo(f"    {printable(line.strip())}")


def _merged(summary: dict[str, object]) -> str:
    if summary["merged"]:
        return f", merged into {summary['target']}"
    if summary["merge_problem"]:
        return f", not merged: {summary['merge_problem']}"
    return ""


def _next_steps(summary: dict[str, object]) -> list[str]:
    run_id, status = summary["run_id"], str(summary["status"])
    lines = []
    if dead := summary["dead_letters"]:
        lines.append(f"dead letters: {dead}")
        lines.append(f"  look at them: prodigy dlq list {run_id}")
        again = f"dlq retry {run_id}" if status in FINISHED else f"resume {run_id} --include-dlq"
        lines.append(f"  retry them:   prodigy {again}")
    if status == "running":
        lines.append(f"watch it: prodigy attach {run_id}")
    elif status in ("interrupted", "cancelled", "paused", "failed"):
        lines.append(f"go on with: prodigy resume {run_id}")
    elif status.startswith("completed") and not summary["merged"] and summary["target"] and summary["changed"]:
        lines.append(f"merge it with: prodigy resume {run_id} --yes")
    return lines
