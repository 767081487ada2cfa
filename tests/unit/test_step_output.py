"""What a step prints, read as it grows."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from prodigy.report import step_output
from prodigy.report.conversation import Part
from prodigy.report.step_output import StepOutput

CALL = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}
GAVE = {"type": "tool_result", "tool_use_id": "t", "content": "a.py\nAPI_KEY=hunter2hunter2"}
SAYS = [
    {"type": "system", "subtype": "init", "session_id": "s", "model": "m", "tools": []},
    {"type": "assistant", "message": {"id": "1", "content": [{"type": "text", "text": "I look."}], "usage": {}}},
    {"type": "assistant", "message": {"id": "2", "content": [CALL]}},
    {"type": "user", "message": {"content": [GAVE]}},
    {"type": "result", "subtype": "success", "is_error": False, "result": "Done.", "total_cost_usd": 0.1, "usage": {}},
]
STREAM = b"".join(json.dumps(line).encode() + b"\n" for line in SAYS)


def joined(parts: list[Part]) -> list[tuple[str, str]]:
    """Text that came in pieces, in one."""
    found: list[tuple[str, str]] = []
    for part in parts:
        if found and part.kind in ("raw", "error") and found[-1][0] == part.kind:
            found[-1] = (part.kind, found[-1][1] + part.text)
        else:
            found.append((part.kind, part.text))
    return found


def test_an_agent_is_read_as_a_conversation(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(STREAM)
    parts = StepOutput(tmp_path, "claude").more(ended=True)
    assert [part.kind for part in parts if part.kind != "note"] == ["text", "tool", "result", "end"]
    (tool,) = [part for part in parts if part.kind == "tool"]
    assert (tool.name, tool.text) == ("Bash", "ls")
    (result,) = [part for part in parts if part.kind == "result"]
    assert result.text == "a.py\nAPI_KEY=***"


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=6), kind=st.sampled_from(["claude", None]))
def test_it_says_the_same_however_it_came(tmp_path_factory: object, cuts: list[int], kind: str | None) -> None:
    folder = Path(tmp_path_factory.mktemp("pieces"))  # type: ignore[attr-defined]
    (folder / "stdout").write_bytes(STREAM)
    whole = StepOutput(folder, kind).more(ended=True)
    (folder / "stdout").write_bytes(b"")
    growing, found, before = StepOutput(folder, kind), list[Part](), 0
    for cut in sorted(cuts):
        with (folder / "stdout").open("ab") as file:
            file.write(STREAM[before:cut])
        before = max(before, cut)
        found += growing.more(ended=False)
    with (folder / "stdout").open("ab") as file:
        file.write(STREAM[before:])
    found += growing.more(ended=True)
    assert joined(found) == joined(whole)


def test_of_a_flood_only_the_end_is_read_and_no_half_line(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(100_000)]
    (tmp_path / "stdout").write_text("\n".join(lines) + "\n")
    output = StepOutput(tmp_path, None)
    parts = output.more(ended=True)
    assert output.is_cut
    text = "".join(part.text for part in parts)
    assert len(text) <= step_output.END_BYTES
    assert text.splitlines()[0] in lines
    assert text.endswith("line 99999\n")


def test_both_streams_are_read_and_what_is_no_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_text("out\x1b[2J\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "stderr").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("not this")
    assert StepOutput(tmp_path, None).more(ended=True) == [Part("raw", "out\\x1b[2J\n")]
    (tmp_path / "stderr").unlink()
    (tmp_path / "pipe").rename(tmp_path / "stderr")
    assert StepOutput(tmp_path, None).more(ended=True) == [Part("raw", "out\\x1b[2J\n")]  # and does not wait
    (tmp_path / "stderr").unlink()
    (tmp_path / "stderr").write_text("err\n")
    assert StepOutput(tmp_path, None).more(ended=True)[1] == Part("error", "err\n")
    assert StepOutput(tmp_path / "nowhere", None).more(ended=True) == []
