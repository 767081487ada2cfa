"""Who may look: links that open the dashboard once, sessions in a browser, the key of programs.

All of it is in small files of the home that only its owner can read, so that a session outlives the server, a link
opens once whatever is killed when, and each process that is started beside a server can make links for it. What is
stored is a digest: a copy of the files lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.home import home, private

LINK_S = 15 * 60  # a link that nobody opened is worth nothing after this
SESSION_S = 7 * 24 * 3600

_SECRET_BYTES = 32


@dataclass(frozen=True)
class Session:
    """A browser that came by a link. form_token: what its forms have to bring along."""

    form_token: str

    def sent_by_it(self, token: str) -> bool:
        """Whether a form came from a page that this session was shown."""
        return hmac.compare_digest(token.encode(), self.form_token.encode())


class Access:
    """Raises EnvironmentProblem when the files can't be written."""

    def __init__(self) -> None:
        self._links = home() / "dashboard" / "links"
        self._sessions = home() / "dashboard" / "sessions"
        self.key_file = home() / "dashboard" / "key"
        try:
            private(self._links)
            private(self._sessions)
            self._key = _kept_key(self.key_file)
            _forget_old(self._links, LINK_S)
            _forget_old(self._sessions, SESSION_S)
        except OSError as error:
            raise EnvironmentProblem(
                f"the dashboard can't keep who may look: {error.strerror}",
                where=str(home() / "dashboard"),
                hint="Make that directory writable, or name another home in PRODIGY_HOME.",
            ) from error

    def note_port(self, port: int) -> None:
        """Remember where a server was started last."""
        (home() / "dashboard" / "port").write_text(f"{port}\n")

    def last_port(self) -> int | None:
        """Where a server was started last; None when none was."""
        with suppress(FileNotFoundError, ValueError):
            return int((home() / "dashboard" / "port").read_text())
        return None

    def new_link(self) -> str:
        """The token of a link that opens the dashboard once."""
        token = secrets.token_urlsafe(_SECRET_BYTES)
        (self._links / _digest(token)).touch(mode=0o600)
        return token

    def open_with(self, token: str) -> str | None:
        """The secret of a new session, for the token of a link; None when that is unknown, old or was used."""
        file = self._links / _digest(token)
        try:
            is_young = time.time() - file.stat().st_mtime < LINK_S
            file.unlink()  # of two who come at once, one finds it gone
        except FileNotFoundError:
            return None
        if not is_young:
            return None
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        (self._sessions / _digest(secret)).touch(mode=0o600)
        return secret

    def session(self, secret: str) -> Session | None:
        """The session that has this secret, if it has not ended."""
        with suppress(FileNotFoundError):
            if time.time() - (self._sessions / _digest(secret)).stat().st_mtime < SESSION_S:
                return Session(hmac.new(secret.encode(), b"form", hashlib.sha256).hexdigest())
        return None

    def close(self, secret: str) -> None:
        """End a session."""
        (self._sessions / _digest(secret)).unlink(missing_ok=True)

    def is_key(self, text: str) -> bool:
        """Whether a program has shown the key in `key_file`."""
        return hmac.compare_digest(text.encode(), self._key.encode())


def _kept_key(file: Path) -> str:
    with suppress(FileNotFoundError):
        if kept := file.read_text().strip():
            return kept
    key = secrets.token_urlsafe(_SECRET_BYTES)
    staged = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    staged.touch(mode=0o600)
    staged.write_text(f"{key}\n")
    staged.rename(file)
    return key


def _forget_old(directory: Path, after_s: float) -> None:
    for file in directory.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > after_s:
                file.unlink()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
