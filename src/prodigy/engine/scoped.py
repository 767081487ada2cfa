"""Which of the user's variables a step gets that does not get all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prodigy.agents import agent
from prodigy.agents.variables import read_by
from prodigy.workflow.agent_settings import Agents
from prodigy.workflow.keys import PUSH_CREDENTIALS

# What it takes to run programs and to find them: who and where one is, how to reach the network, where the managers of
# versions keep what they installed. No key to anything is among them, but what may stand in the address of a proxy.
BASE = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "HOSTNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM",
    "COLORTERM", "NO_COLOR", "FORCE_COLOR", "CI", "TMPDIR", "TMP", "TEMP", "XDG_*",
    # The network.
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "ftp_proxy",
    "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS", "NIX_SSL_CERT_FILE",
    # Libraries and programs.
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "PKG_CONFIG_PATH", "MANPATH",
    "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_EXE", "PYENV_ROOT",
    "PYENV_VERSION", "PIPX_HOME", "POETRY_HOME", "UV_CACHE_DIR", "UV_PYTHON", "UV_PYTHON_INSTALL_DIR", "UV_TOOL_DIR",
    "NODE_PATH", "NVM_DIR", "NVM_BIN", "FNM_DIR", "FNM_MULTISHELL_PATH", "VOLTA_HOME", "N_PREFIX", "PNPM_HOME",
    "COREPACK_HOME", "BUN_INSTALL", "DENO_DIR", "DENO_INSTALL", "NPM_CONFIG_PREFIX", "NPM_CONFIG_CACHE",
    "npm_config_prefix", "npm_config_cache", "PLAYWRIGHT_BROWSERS_PATH",
    "GOPATH", "GOROOT", "GOBIN", "GOCACHE", "GOMODCACHE", "GOTOOLCHAIN",
    "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN",
    "JAVA_HOME", "SDKMAN_DIR", "MAVEN_HOME", "M2_HOME", "GRADLE_HOME", "GRADLE_USER_HOME", "ANDROID_HOME",
    "ANDROID_SDK_ROOT", "RBENV_ROOT", "RBENV_VERSION", "RUBY_ROOT", "GEM_HOME", "GEM_PATH", "ASDF_DIR", "ASDF_DATA_DIR",
    "MISE_DATA_DIR", "MISE_CONFIG_DIR", "DOTNET_ROOT", "OPAMROOT", "GHCUP_INSTALL_BASE_PREFIX", "NIX_PATH",
    "NIX_PROFILES", "HOMEBREW_PREFIX", "HOMEBREW_CELLAR", "HOMEBREW_REPOSITORY",
)  # fmt: skip
# What is ours, and what we and the user tell git.
_OURS = ("PRODIGY_*", "GIT_*")


def kept(environment: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """What is left of an environment for such a step. more: of names and beginnings, `PREFIX_*`, that it gets too."""
    wanted = {*BASE, *_OURS, *more}
    beginnings = tuple(one[:-1] for one in wanted if one.endswith("*"))
    return {name: value for name, value in environment.items() if name in wanted or name.startswith(beginnings)}


def for_agent(
    agents: Agents, name: str, environment: Mapping[str, str], added: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What the agent `name` gets of the user's environment. added: what the workflow says, which it gets too but for
    what pushes; that takes more than a variable of all steps."""
    settings, there = agents.settings(name), {**environment, **(added or {})}
    more = (*read_by(agent(agents.kind(name)), {**there, **dict(settings.env)}), *settings.pass_env)
    if agents.may_push(name):
        return {**kept(environment, (*more, *PUSH_CREDENTIALS)), **(added or {})}
    found = {**kept(environment, more), **(added or {})}
    return {each: value for each, value in found.items() if each not in PUSH_CREDENTIALS}


def withheld(agents: Agents, name: str, environment: Mapping[str, str]) -> list[str]:
    """The user's variables that the agent `name` does not get."""
    return sorted(environment.keys() - for_agent(agents, name, environment).keys())
