"""Who may see the page, and give orders on it: the file that `REMEDY_OPERATORS_FILE` names."""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from keptn_remedy.support import validation
from keptn_remedy.support.mounted_files import MountedFile, why_unreadable
from keptn_remedy.support.reading import MAX_BYTES, Document, DocumentError
from keptn_remedy.support.variables import SettingsError

VARIABLE = "REMEDY_OPERATORS_FILE"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"
# For so long what was read counts: a page asks many times a second.
FRESH_SECONDS = 1.0

Role = Literal["viewer", "approver", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may: see; approve and deny; pause, resume and undo."""


class Operator(BaseModel):
    """One person. The token itself is nowhere, only its SHA-256: it is random, and long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=NAME)]
    role: Role
    token_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    def may(self, role: Role) -> bool:
        """Whether this one may do what that role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    operators: list[Operator]


_FILE = TypeAdapter(_File)


class Operators:
    """The people in the file. It is read again when it is asked, so that a change counts within a
    second.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._file = MountedFile(path, MAX_BYTES + 1)
        self._monotonic = monotonic
        self._known: Sequence[Operator] = ()
        self._read_at = -FRESH_SECONDS

    async def begin(self) -> None:
        """Check the file.

        Raises:
            SettingsError: it can't be read, or is wrong; one line for each mistake.
        """
        await self.all()

    async def all(self) -> Sequence[Operator]:
        """All of them.

        Raises:
            SettingsError: as in `begin`.
        """
        now = self._monotonic()
        if now - self._read_at >= FRESH_SECONDS:
            path = self._file.path
            try:
                text = (await self._file.read(anew=True)).text
            except (OSError, UnicodeDecodeError) as error:
                why = why_unreadable(error)
                raise SettingsError([f"{VARIABLE}: {path} can't be read: {why}"]) from None
            self._known, self._read_at = parsed(text, path), now
        return self._known

    async def with_token(self, token: str) -> Operator | None:
        """Whose token it is; None if it is nobody's. Raises as `all`."""
        digest = hashed(token)
        found = [it for it in await self.all() if hmac.compare_digest(it.token_sha256, digest)]
        return found[0] if found else None

    async def named(self, name: str) -> Operator | None:
        """The one of that name. Raises as `all`."""
        return next((it for it in await self.all() if it.name == name), None)


def hashed(token: str) -> str:
    """What the file holds of a token."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def parsed(text: str, path: Path) -> list[Operator]:
    """The people in the text of a file.

    Raises:
        SettingsError: one line for each mistake.
    """
    try:
        document = Document(text)
    except DocumentError as error:
        raise SettingsError([f"{VARIABLE}: {path}: {it}" for it in error.mistakes]) from None
    try:
        found = _FILE.validate_python(document.value or {"operators": []}).operators
    except ValidationError as error:
        raise SettingsError(_mistakes(error, document, path)) from None
    names = [operator.name for operator in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError([f"{VARIABLE}: {path}: {name} is in it twice" for name in twice])
    return found


def _mistakes(error: ValidationError, document: Document, path: Path) -> list[str]:
    found: list[str] = []
    for each in error.errors():
        place = each["loc"]
        where = ".".join(map(str, place)) or "the file"
        line = document.line(place)
        found.append(f"{VARIABLE}: {path}, line {line}: {where}: {validation.in_words(each)}")
    return found


def read(path: Path) -> list[Operator]:
    """The people in a file; nobody where there is none.

    Raises:
        SettingsError: it can't be read, or is wrong.
    """
    try:
        return parsed(path.read_text("utf-8"), path)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} can't be read: {why_unreadable(error)}"]) from None


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


@contextmanager
def changing(path: Path) -> Generator[None]:
    """Read and write the file within this: another command waits until it is left.

    Raises:
        OSError: there is no such folder, or it can't be opened.
    """
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write(path: Path, operators: Sequence[Operator]) -> None:
    """Write the file, whole or not at all. Only its owner may read a new one; one that is there
    keeps its owner and mode, so that the service can read it as before.

    Raises:
        OSError: it can't be written.
    """
    path = path.resolve()  # a link stays one
    held = {"operators": [operator.model_dump() for operator in operators]}
    text = yaml.safe_dump(held, sort_keys=False)
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            _keep_access(path, descriptor)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(made).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_access(path: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        before = path.stat()
        with suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
