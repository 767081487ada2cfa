"""Packages that add something to Prodigy: those of the examples, built and installed, and such that are made up."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def _called(*argv: str | Path) -> None:
    done = subprocess.run([*map(str, argv)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def installed_in_a_venv(folder: Path, *examples: str) -> Path:
    """The Python of a new virtual environment that has Prodigy and the examples, which are built as wheels."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-index", "--no-deps"]
    sources = [EXAMPLES / example for example in examples]
    _called(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder / "wheels", *sources)
    _called(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    _called(*pip, "--python", python, "install", *offline, *(folder / "wheels").glob("*.whl"))
    # What Prodigy needs is where the tests have it.
    below_here = "; import site; site.addsitedir({!r})"
    ours = sysconfig.get_paths()["purelib"]
    (site_packages(python) / "prodigy-of-the-tests.pth").write_text(f"import sys{below_here.format(ours)}\n")
    return python


def site_packages(python: Path) -> Path:
    """Where that Python has its packages."""
    (found,) = (python.parents[1] / "lib").glob("python*/site-packages")
    return found


def made_up(folder: Path, group: str, source: str, name: str = "odd") -> dict[str, str]:
    """The variables with which a package is there that adds `name` to a group: the class `Odd` of `source`."""
    site = folder / "odd-site"
    facts = site / "odd_package-2.5.dist-info"
    facts.mkdir(parents=True)
    (site / "odd_module.py").write_text(source)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-package\nVersion: 2.5\n")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{name} = odd_module:Odd\n")
    return with_path(site)


def with_path(*folders: Path) -> dict[str, str]:
    """The variables with which Python looks there as well."""
    return {"PYTHONPATH": os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])}
