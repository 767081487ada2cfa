"""What people install is the wheel, into an environment of its own, with a Python that they have."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from prodigy import __version__
from support import Project, git

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
OF_DOCUMENTS = {"reference.py", "python_reference.py", "catalogue_page.py"}  # they write the documentation
SMALLEST_FLOW = """
map:
  input: "glob:*.word"
  agent_template: [{shell: "tr a-z A-Z < ${item} > new && mv new ${item}"}]
reduce: [{shell: "cat *.word > ALL"}]
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy: what is built beside the sources must not come into it.
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    _run([UV, "build", "--quiet", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable,
          "--out-dir", target, source])  # fmt: skip
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_is_small_and_holds_all_that_runs_need(wheel: Path) -> None:
    assert wheel.stat().st_size < 1_000_000
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = ROOT / "src"
    files = [path for path in sources.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {str(path.relative_to(sources)) for path in files if path.name not in OF_DOCUMENTS}
    assert wanted <= names
    assert {name.partition("/")[0] for name in names - wanted} == {f"prodigy_agents-{__version__}.dist-info"}


def test_the_code_in_the_wheel_is_that_of_the_sources_line_by_line(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    for path in sorted((ROOT / "src").rglob("*.py")):
        name = str(path.relative_to(ROOT / "src"))
        if name in packed.namelist():
            assert _code(packed.read(name).decode()) == _code(path.read_text()), name


def _code(source: str) -> str:
    """What a source does, with the numbers of its lines, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if len(node.body) > (0 if isinstance(node, ast.Module) else 1):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                del node.body[0]
    return ast.dump(tree, include_attributes=True)


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_uv_installs_it_as_a_tool_that_runs_a_workflow(
    wheel: Path, minor: int, project: Project, tmp_path: Path
) -> None:
    env = _environment(tmp_path) | {
        "UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
    }  # fmt: skip
    _install([UV, "tool", "install", "--quiet", "--constraints", ROOT / "requirements" / "run.txt",
              "--python", _python(minor), wheel], env)  # fmt: skip
    _use(tmp_path / "bin" / "prodigy", env, project)


def test_pipx_installs_it_as_an_application_that_runs_a_workflow(wheel: Path, project: Project, tmp_path: Path) -> None:
    env = _environment(tmp_path) | {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    _install([UV, "tool", "run", "--quiet", "--python", sys.executable, "pipx", "install", "--quiet",
              "--python", sys.executable, wheel], env)  # fmt: skip
    _use(tmp_path / "bin" / "prodigy", env, project)


def _use(command: Path, env: Mapping[str, str], project: Project) -> None:
    """A run of a workflow, with the installed command and nothing of this checkout."""
    assert _run([command, "--version"], env) == f"prodigy, version {__version__}\n"
    for name in ("one", "two"):
        (project.repo / f"{name}.word").write_text(f"{name}\n")
    (project.repo / "flow.yml").write_text(SMALLEST_FLOW)
    git(project.repo, "add", "-A")
    git(project.repo, "commit", "--quiet", "-m", "all")
    _run([command, "run", "flow.yml", "--yes"], env, project.repo)
    assert (project.repo / "ALL").read_text() == "ONE\nTWO\n"
    assert "fix-problems" in _run([command, "template", "list"], env, project.repo)


def _environment(tmp_path: Path) -> dict[str, str]:
    """As a user's: no virtual environment, nothing that leads to this checkout."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "VIRTUAL_ENV", "PRODIGY", "COV"))}  # fmt: skip
    return kept | {"PRODIGY_HOME": str(tmp_path / "home")}


@cache
def _python(minor: int) -> str:
    """An interpreter of this version, by its own path: what stands on PATH may only lead to others."""
    for candidate in _candidates(minor):
        done = subprocess.run([candidate, "-c", "import sys; print(sys.version_info[:2], sys.executable)"],
                              capture_output=True, text=True, check=False)  # fmt: skip
        version, _, executable = done.stdout.strip().rpartition(" ")
        if done.returncode == 0 and version == f"(3, {minor})":
            return executable
    pytest.skip(f"this machine has no Python 3.{minor}")


def _candidates(minor: int) -> Iterator[str]:
    name = f"python3.{minor}"
    if (found := shutil.which(name)) is not None:
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path("~").expanduser() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}")))


def _install(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode and ("connect" in done.stderr or "resolving" in done.stderr.lower()):
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr


def _run(command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
