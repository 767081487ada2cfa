"""What a repository is made with, and so how it is checked: values for the parameters of starters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 1 << 20
# ESLint has the path on a line above the problems.
_ESLINT_LINES = """awk '/^[^ ]/ {file = $0} /^ +[0-9]+:[0-9]/ {sub(/^ +/, ""); print file ":" $0}'"""


@dataclass(frozen=True)
class Stack:
    """file: what told. values: parameter -> value; a starter takes those that it has."""

    file: str
    values: dict[str, str]


def stack_of(root: Path) -> Stack | None:
    """By the files at the root of a checkout; None where none of them says anything."""
    known = (
        ("pyproject.toml", _python), ("setup.py", _python), ("setup.cfg", _python), ("package.json", _node),
        ("go.mod", _go), ("Cargo.toml", _rust), ("Makefile", _make),
    )  # fmt: skip
    for file, values in known:
        if (root / file).is_file():
            return Stack(file, {**_sources(root), **dict(values(root))})
    return None


def _sources(root: Path) -> dict[str, str]:
    directory = next((name for name in ("src", "lib", "app") if (root / name).is_dir()), None)
    return {"sources": directory, "files": directory} if directory else {}


def _only(root: Path, pattern: str) -> Iterator[tuple[str, str]]:
    """The files of one language, where no directory has them all."""
    directory = _sources(root).get("files")
    where = f"{directory}/{pattern}" if directory else pattern
    yield from (("sources", where), ("files", where))


def _python(root: Path) -> Iterator[tuple[str, str]]:
    settings = _text(root / "pyproject.toml") + _text(root / "setup.cfg")
    runner = "uv run " if (root / "uv.lock").is_file() else ""
    yield from _only(root, "*.py")
    has_ruff = "[tool.ruff" in settings or any((root / name).is_file() for name in ("ruff.toml", ".ruff.toml"))
    has_mypy = "mypy]" in settings or "[tool.mypy" in settings or (root / "mypy.ini").is_file()
    if has_mypy and not has_ruff:
        yield "checker", f"{runner}mypy --no-pretty --no-error-summary ."
    else:
        yield "checker", f"{runner}ruff check --no-fix --quiet --output-format concise"
    with_pytest = "pytest" in settings or (root / "pytest.ini").is_file() or (root / "conftest.py").is_file()
    if with_pytest:
        yield "tests", f"{runner}python3 -m pytest -q"
    elif any((root / name).is_dir() for name in ("tests", "test")) or any(root.glob("test_*.py")):
        yield "tests", f"{runner}python3 -m unittest -q"  # which fails where there are no tests
    if runner:
        yield "prepare", "uv sync --quiet"


def _node(root: Path) -> Iterator[tuple[str, str]]:
    try:
        package = json.loads(_text(root / "package.json"))
        scripts = package.get("scripts") or {}
    except (ValueError, AttributeError):
        scripts = {}
    if (root / "tsconfig.json").is_file():
        yield from _only(root, "*.ts")
        yield "checker", "npx tsc --noEmit --pretty false"
    else:
        yield from _only(root, "*.js")
        yield "checker", f"set -o pipefail; npx eslint . | {_ESLINT_LINES}"
    if isinstance(scripts, dict) and "test" in scripts:
        yield "tests", "npm test --silent"
    installs = {
        "pnpm-lock.yaml": "pnpm install --frozen-lockfile", "yarn.lock": "yarn install --frozen-lockfile",
        "package-lock.json": "npm ci --no-audit --no-fund",
    }  # fmt: skip
    if lock := next((name for name in installs if (root / name).is_file()), None):
        yield "prepare", installs[lock]


def _go(root: Path) -> Iterator[tuple[str, str]]:  # noqa: ARG001 - one signature for all
    yield from (("sources", "*.go"), ("files", "*.go"), ("checker", "go vet ./..."), ("tests", "go test ./..."))


def _rust(root: Path) -> Iterator[tuple[str, str]]:
    yield from _only(root, "*.rs")
    yield "checker", "cargo clippy --quiet --all-targets --message-format short"
    yield "tests", "cargo test --quiet"


def _make(root: Path) -> Iterator[tuple[str, str]]:
    targets = re.findall(r"^([\w-]+):(?!=)", _text(root / "Makefile"), re.MULTILINE)
    for parameter, names in (("checker", ("lint", "check")), ("tests", ("test", "tests", "check"))):
        if target := next((name for name in names if name in targets), None):
            yield parameter, f"make {target}"


def _text(file: Path) -> str:
    """Empty for what can't be read, or is no such file."""
    try:
        return file.read_bytes().decode(errors="replace") if file.stat().st_size <= _MOST_BYTES else ""
    except OSError:
        return ""
