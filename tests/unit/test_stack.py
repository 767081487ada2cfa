"""How a repository is checked, by the files at its root."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prodigy.cli.stack import _ESLINT_LINES, stack_of


@pytest.mark.parametrize(
    ("files", "values"),
    [
        ({"pyproject.toml": "[tool.ruff]"}, {"checker": "ruff check --no-fix --quiet --output-format concise"}),
        ({"pyproject.toml": "[tool.mypy]"}, {"checker": "mypy --no-pretty --no-error-summary ."}),
        ({"setup.py": "", "conftest.py": ""}, {"tests": "python3 -m pytest -q", "sources": "*.py"}),
        ({"setup.cfg": "", "tests/a.py": "", "src/a.py": ""}, {"tests": "python3 -m unittest -q", "files": "src/*.py"}),
        (
            {"package.json": '{"scripts": {"test": "x"}}', "tsconfig.json": "", "pnpm-lock.yaml": ""},
            {"checker": "npx tsc --noEmit --pretty false", "tests": "npm test --silent",
             "prepare": "pnpm install --frozen-lockfile"},
        ),
        ({"package.json": "not JSON"}, {"files": "*.js"}),
        ({"package.json": "[]"}, {"files": "*.js"}),
        ({"go.mod": ""}, {"checker": "go vet ./...", "tests": "go test ./..."}),
        ({"Cargo.toml": "", "src/main.rs": ""}, {"tests": "cargo test --quiet", "files": "src/*.rs"}),
        ({"Makefile": "X := 1\nlint: all\n\ttrue\ncheck:\n\ttrue\n"}, {"checker": "make lint", "tests": "make check"}),
    ],
)  # fmt: skip
def test_known_kinds(tmp_path: Path, files: dict[str, str], values: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = stack_of(tmp_path)
    assert found is not None
    assert found.values.items() >= values.items()
    assert found.file == next(iter(files))


def test_no_tests_are_run_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    found = stack_of(tmp_path)
    assert found is not None
    assert "tests" not in found.values


def test_nothing_known(tmp_path: Path) -> None:
    assert stack_of(tmp_path) is None


def test_what_eslint_prints_becomes_one_line_a_problem() -> None:
    printed = "\n/repo/a b.js\n  12:5   error  no\n   3:10  warning  x\n\n/repo/c.js\n  1:1  error  no\n\n3 problems\n"
    done = subprocess.run(["sh", "-c", _ESLINT_LINES], input=printed, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "/repo/a b.js:12:5   error  no", "/repo/a b.js:3:10  warning  x", "/repo/c.js:1:1  error  no",
    ]  # fmt: skip
