"""How many steps fit on a machine."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.executors import capacity as capacity_module
from prodigy.executors.capacity import (
    AGENT_STEP_MB,
    SHELL_STEP_MB,
    available_memory_mb,
    available_processes,
    capacity,
    control_group_memory,
    files_needed,
    open_files_limit,
    raise_open_files_limit,
    slots_allowed,
    slots_for,
    slots_for_files,
    slots_for_processes,
)

MB = 1 << 20
V1_UNLIMITED = "9223372036854771712"


# How many fit


def test_what_fits_is_not_capped() -> None:
    assert slots_for(8, AGENT_STEP_MB, 100_000) == (8, None)


def test_a_small_memory_caps_and_says_why() -> None:
    slots, reason = slots_for(8, 400, 1_460)
    assert slots == 3
    assert reason == (
        "8 items at a time were asked for; memory is enough for 3"
        " (each needs about 400 MB, 1,460 MB are free, 256 MB of them stay free)"
    )


def test_of_a_large_memory_a_tenth_stays_free() -> None:
    assert slots_for(1_000, 100, 10_000)[0] == 90
    assert slots_for(90, 100, 10_000) == (90, None)


def test_one_is_tried_where_none_fits() -> None:
    slots, reason = slots_for(2, AGENT_STEP_MB, 100)
    assert slots == 1
    assert reason is not None
    assert "memory is not enough for one, which is tried all the same" in reason
    assert slots_for(1, AGENT_STEP_MB, 0) == (1, None)


def test_an_unknown_memory_caps_nothing() -> None:
    assert slots_for(500, AGENT_STEP_MB, None) == (500, None)


@pytest.mark.parametrize(("wanted", "need_mb"), [(0, 1), (-1, 1), (1, 0)])
def test_nonsense_is_refused(wanted: int, need_mb: int) -> None:
    with pytest.raises(ValueError, match="no "):
        slots_for(wanted, need_mb, 1_000)


@given(st.integers(1, 5_000), st.integers(1, 5_000), st.none() | st.integers(0, 1 << 22))
def test_the_slots_fit_and_a_reason_is_given_exactly_when_they_are_fewer(
    wanted: int, need_mb: int, available_mb: int | None
) -> None:
    slots, reason = slots_for(wanted, need_mb, available_mb)
    assert 1 <= slots <= wanted
    assert (reason is not None) == (slots < wanted)
    if available_mb is not None and slots > 1:
        kept = max(256, available_mb // 10)
        assert slots * need_mb <= available_mb - kept
    if available_mb is not None and slots < wanted:
        assert (slots + 1) * need_mb > available_mb - max(256, available_mb // 10)


def test_open_files_cap() -> None:
    assert slots_for_files(100, None) == (100, None)
    assert slots_for_files(7, files_needed(7)) == (7, None)
    slots, reason = slots_for_files(100, 256)
    assert slots == 7
    assert reason is not None
    assert "the limit of 256 open files is enough for 7" in reason
    assert slots_for_files(100, 20)[0] == 1


def test_processes_cap() -> None:
    assert slots_for_processes(100, None) == (100, None)
    assert slots_for_processes(10, 60) == (10, None)
    slots, reason = slots_for_processes(10, 59)
    assert slots == 9
    assert reason is not None
    assert "the limit of processes is enough for 9 (each needs 6, 59 more may run" in reason
    assert slots_for_processes(10, -5)[0] == 1


def test_all_limits_count_and_the_tightest_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_module, "available_memory_mb", lambda: 1_000)
    monkeypatch.setattr(capacity_module, "raise_open_files_limit", lambda _: 1_000)
    monkeypatch.setattr(capacity_module, "available_processes", lambda: 30)
    found = capacity(1_000, SHELL_STEP_MB)
    assert found.slots == 5
    assert [reason.split("; ")[1].split(" (")[0] for reason in found.reasons] == [
        "the limit of processes is enough for 5",
        "memory is enough for 11",
        "the limit of 1,000 open files is enough for 100",
    ]


def test_one_slot_is_always_there_and_needs_no_reason() -> None:
    found = capacity(1, SHELL_STEP_MB)
    assert (found.slots, found.reasons) == (1, ())


# What control groups leave


def group(root: Path, place: str, **files: str | int) -> None:
    """Write the files of a control group; the first _ in a name stands for a dot."""
    folder = root / "sys/fs/cgroup" / place
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        dotted = name.replace("_", ".", 1)
        (folder / dotted).write_text(f"{content}\n")


def member(root: Path, *lines: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))


def test_without_control_groups_nothing_is_known(tmp_path: Path) -> None:
    assert control_group_memory(tmp_path) is None
    total = psutil.virtual_memory().total // MB
    assert 0 < (available_memory_mb(tmp_path) or 0) < total


def test_version_2_tells_what_is_left(tmp_path: Path) -> None:
    member(tmp_path, "0::/user/app")
    group(tmp_path, "user/app", memory_max=500 * MB, memory_current=200 * MB)
    group(tmp_path, "user", memory_max="max", memory_current=900 * MB)
    assert control_group_memory(tmp_path) == 300 * MB


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    member(tmp_path, "0::/user/app")
    group(tmp_path, "user/app", memory_max=500 * MB, memory_current=200 * MB)
    group(tmp_path, "user", memory_max=1000 * MB, memory_current=900 * MB)
    assert control_group_memory(tmp_path) == 100 * MB


def test_a_limit_that_only_slows_down_counts(tmp_path: Path) -> None:
    member(tmp_path, "0::/app")
    group(tmp_path, "app", memory_max="max", memory_high=250 * MB, memory_current=200 * MB)
    assert control_group_memory(tmp_path) == 50 * MB


def test_cached_files_are_not_taken_for_used_memory(tmp_path: Path) -> None:
    member(tmp_path, "0::/app")
    stat = f"anon 1\ninactive_file {80 * MB}\nactive_file {10 * MB}\nfile {95 * MB}"
    group(tmp_path, "app", memory_max=200 * MB, memory_current=190 * MB, memory_stat=stat)
    assert control_group_memory(tmp_path) == 100 * MB


def test_more_than_the_limit_in_use_leaves_nothing(tmp_path: Path) -> None:
    member(tmp_path, "0::/app")
    group(tmp_path, "app", memory_max=100 * MB, memory_current=101 * MB)
    assert control_group_memory(tmp_path) == 0
    assert available_memory_mb(tmp_path) == 0


def test_version_1_tells_what_is_left(tmp_path: Path) -> None:
    member(tmp_path, "8:pids:/other", "4:memory:/docker/abc", "0::/")
    stat = f"inactive_file 0\ntotal_inactive_file {20 * MB}"
    limits = {"memory_limit_in_bytes": 300 * MB, "memory_usage_in_bytes": 100 * MB}
    group(tmp_path, "memory/docker/abc", memory_stat=stat, **limits)
    group(tmp_path, "memory", memory_limit_in_bytes=V1_UNLIMITED, memory_usage_in_bytes=900 * MB)
    assert control_group_memory(tmp_path) == 220 * MB


@pytest.mark.parametrize("place", ["/docker/of/the/host", "/../../elsewhere", "/"])
def test_in_a_container_the_top_is_its_group(tmp_path: Path, place: str) -> None:
    member(tmp_path, f"0::{place}")
    group(tmp_path, "", memory_max=64 * MB, memory_current=4 * MB)
    assert control_group_memory(tmp_path) == 60 * MB
    assert available_memory_mb(tmp_path) == 60


def test_a_group_without_a_limit_limits_nothing(tmp_path: Path) -> None:
    member(tmp_path, "0::/app", "nonsense", "")
    group(tmp_path, "app", memory_max="max", memory_current=5)
    assert control_group_memory(tmp_path) is None


def test_a_group_may_limit_processes(tmp_path: Path) -> None:
    member(tmp_path, "0::/app")
    group(tmp_path, "app", pids_max=100, pids_current=40)
    left = available_processes(tmp_path)
    assert left is not None
    assert left <= 60


# The limit of open files, in a process of its own because a lowered hard limit stays

LIMITED = """
import resource, sys
from prodigy.executors.capacity import capacity, open_files_limit, raise_open_files_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 600))
"""


def printed(text: str) -> list[str]:
    ended = subprocess.run([sys.executable, "-c", LIMITED + text], capture_output=True, text=True, check=True)
    return ended.stdout.split()


def test_the_open_files_limit_is_raised_as_far_as_needed() -> None:
    assert printed("print(open_files_limit(), raise_open_files_limit(500), open_files_limit())") == [
        "300",
        "500",
        "500",
    ]


def test_the_open_files_limit_is_raised_to_the_hard_limit_at_most() -> None:
    assert printed("print(raise_open_files_limit(9000), *resource.getrlimit(resource.RLIMIT_NOFILE))") == [
        "600", "600", "600",
    ]  # fmt: skip


def test_the_open_files_limit_is_never_lowered() -> None:
    assert printed("print(raise_open_files_limit(10), open_files_limit())") == ["300", "300"]


def test_capacity_raises_the_limit_it_needs_raised() -> None:
    slots, soft = printed("print(capacity(1000, 1).slots, open_files_limit())")
    assert int(slots) <= (600 - 200) // 8
    assert soft == "600"


def test_the_open_files_limit_is_the_soft_one() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert open_files_limit() == (None if soft == resource.RLIM_INFINITY else soft)
    assert raise_open_files_limit(1) == open_files_limit()


def test_what_all_items_may_take_together_bounds_the_slots() -> None:
    assert slots_allowed(4, 100, None) == (4, None)
    assert slots_allowed(4, 100, 400) == (4, None)
    slots, reason = slots_allowed(4, 100, 250)
    assert slots == 2
    assert reason is not None
    assert "max_memory_mb is enough for 2 (250; each needs about 100 MB)" in reason
    assert slots_allowed(4, 100, 50)[0] == 1
