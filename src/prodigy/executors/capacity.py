"""How many steps this machine can run at once: memory, open files, processes."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SHELL_STEP_MB = 64
AGENT_STEP_MB = 400  # Claude Code peaks at about 300 MB, and its tools need some

KEPT_FREE_SHARE = 10  # one part of so many
KEPT_FREE_MB = 256
FILES_PER_SLOT = 8
FILES_OF_OURS = 200
PROCESSES_PER_SLOT = 6
# Counting the user's processes takes a moment, and below a limit this high it would not change the answer.
PLENTY_OF_PROCESSES = 16_384

_MB = 1 << 20
_UNLIMITED = 1 << 60  # version 1 writes its "no limit" as a number of this size


@dataclass(frozen=True)
class Capacity:
    """slots: 1 or more, never more than were asked for. reasons: for people, the tightest first; empty when all fit."""

    slots: int
    reasons: tuple[str, ...]


def capacity(wanted: int, need_mb: int, most_mb: int | None = None) -> Capacity:
    """How many of `wanted` slots this machine can bear when each needs `need_mb` MB, and all may take `most_mb` (None:
    what there is).

    Raises the soft limit of open files where that helps; steps started later inherit it.
    """
    caps = (
        slots_for(wanted, need_mb, available_memory_mb()),
        slots_allowed(wanted, need_mb, most_mb),
        slots_for_files(wanted, raise_open_files_limit(files_needed(wanted))),
        slots_for_processes(wanted, available_processes()),
    )
    capped = sorted((slots, reason) for slots, reason in caps if reason is not None)
    return Capacity(min(slots for slots, _ in caps), tuple(reason for _, reason in capped))


def slots_for(wanted: int, need_mb: int, available_mb: int | None) -> tuple[int, str | None]:
    """How many slots the memory is enough for, and why fewer than `wanted`; None for memory that is not known.

    Some stays free, for the system and for the cache that git lives on. Raises ValueError for less than one slot
    or 1 MB.
    """
    if need_mb < 1:
        raise ValueError(f"no amount of memory for a step: {need_mb} MB")
    if available_mb is None:
        return _capped(wanted, wanted, "")
    kept = max(KEPT_FREE_MB, available_mb // KEPT_FREE_SHARE)
    free = f"{available_mb:,} MB are free, {kept:,} MB of them stay free"
    return _capped(
        wanted, (available_mb - kept) // need_mb, f"memory is {{}} (each needs about {need_mb:,} MB, {free})"
    )


def slots_allowed(wanted: int, need_mb: int, most_mb: int | None) -> tuple[int, str | None]:
    """As `slots_for`, for what the workflow lets all of them take together; None: no limit."""
    if most_mb is None:
        return _capped(wanted, wanted, "")
    return _capped(wanted, most_mb // need_mb, f"max_memory_mb is {{}} ({most_mb:,}; each needs about {need_mb:,} MB)")


def slots_for_files(wanted: int, limit: int | None) -> tuple[int, str | None]:
    """As `slots_for`, for a limit of open files; None where there is none."""
    if limit is None:
        return _capped(wanted, wanted, "")
    needs = f"each needs {FILES_PER_SLOT}, Prodigy itself {FILES_OF_OURS}; `ulimit -n` changes it"
    return _capped(
        wanted, (limit - FILES_OF_OURS) // FILES_PER_SLOT, f"the limit of {limit:,} open files is {{}} ({needs})"
    )


def slots_for_processes(wanted: int, available: int | None) -> tuple[int, str | None]:
    """As `slots_for`, for the number of processes that may still be started; None where there is no limit."""
    if available is None:
        return _capped(wanted, wanted, "")
    needs = f"each needs {PROCESSES_PER_SLOT}, {max(0, available):,} more may run; see `ulimit -u`"
    return _capped(wanted, available // PROCESSES_PER_SLOT, f"the limit of processes is {{}} ({needs})")


def _capped(wanted: int, fits: int, what: str) -> tuple[int, str | None]:
    """what: a sentence with a gap for what it is enough for."""
    if wanted < 1:
        raise ValueError(f"no number of slots: {wanted}")
    slots = max(1, min(wanted, fits))
    if slots == wanted:
        return slots, None
    enough = f"enough for {slots:,}" if fits >= 1 else "not enough for one, which is tried all the same"
    return slots, f"{wanted:,} items at a time were asked for; {what.format(enough)}"


# Memory


def available_memory_mb(root: Path = Path("/")) -> int | None:
    """The memory we may still use, in MB: what the system has, bounded by our control groups. None if neither tells.

    root: the directory in which proc and sys are looked up.
    """
    known = [size for size in (_system_memory(), control_group_memory(root)) if size is not None]
    return min(known) // _MB if known else None


def _system_memory() -> int | None:
    """In bytes; caches that the system gives up when asked count as free."""
    import psutil  # the command line starts without it

    try:
        return int(psutil.virtual_memory().available)
    except (OSError, psutil.Error, NotImplementedError):
        return None  # psutil reads /proc, which a sandbox may hide


def control_group_memory(root: Path = Path("/")) -> int | None:
    """What our control group and those above it leave us, in bytes; None when none of them has a limit."""
    left = []
    for group in _groups(root, "memory"):
        limits = [_number(group / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        used = _number(group / "memory.current", group / "memory.usage_in_bytes")
        bounds = [limit for limit in limits if limit is not None and limit < _UNLIMITED]
        if bounds and used is not None:
            left.append(max(0, min(bounds) - max(0, used - _cached(group))))
    return min(left, default=None)


def _cached(group: Path) -> int:
    """Files in memory, in bytes. They count as used, but make room: without them, every checkout would look full."""
    found = {}
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    # Version 1 counts the groups below only under these names.
    return sum(found.get(f"total_{name}", found.get(name, 0)) for name in ("active_file", "inactive_file"))


# Open files


def open_files_limit() -> int | None:
    """How many files each process may have open now (the soft limit); None without a limit."""
    return _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def raise_open_files_limit(needed: int) -> int | None:
    """Raise the soft limit to `needed`, or as far as the hard limit allows; never lower it. Returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = needed if _finite(hard) is None else min(needed, hard)
    if _finite(soft) is not None and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (ValueError, OSError):
            return soft  # macOS has a lower limit (kern.maxfilesperproc) which it does not show here
    return open_files_limit()


def files_needed(slots: int) -> int:
    """Files that a run with so many slots has open."""
    return FILES_OF_OURS + FILES_PER_SLOT * slots


# Processes


def available_processes(root: Path = Path("/")) -> int | None:
    """How many more processes and threads we may start; None when nothing that matters limits it. root: as above."""
    left = [
        limit - used
        for group in _groups(root, "pids")
        if (limit := _number(group / "pids.max")) is not None and (used := _number(group / "pids.current")) is not None
    ]
    limit = _finite(resource.getrlimit(resource.RLIMIT_NPROC)[0])
    if limit is not None and limit < PLENTY_OF_PROCESSES and os.geteuid() != 0:  # it does not hold for root
        left.append(limit - _processes_of_ours())
    return min(left, default=None)


def _processes_of_ours() -> int:
    """Of the user, each with its threads: Linux counts these."""
    import psutil

    total = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == os.getuid():
            total += process.info["num_threads"] or 1
    return total


# Control groups


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The directories of our control group and of those above it, for one controller, in both versions."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            tops = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            tops = [mount / controllers, mount / controller]
        else:
            continue
        below = PurePosixPath(path.lstrip("/"))
        # In a container the path may be the host's, and lead nowhere or (..) out; the top is the container's then.
        places = [PurePosixPath()] if ".." in below.parts else [below, *below.parents]
        yield from (top / place for top in dict.fromkeys(tops) for place in dict.fromkeys(places))


def _number(*files: Path) -> int | None:
    """What the first of these files holds that is a number; `max` is none."""
    texts = (_text(file).strip() for file in files)
    return next((int(text) for text in texts if text.isdigit()), None)


def _text(file: Path) -> str:
    """Empty when there is no such file."""
    try:
        return file.read_text(errors="surrogateescape")
    except OSError:
        return ""


def _finite(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit
