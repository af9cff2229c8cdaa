"""The files of Keptn's projects with all their versions, as resource-service serves them."""

from __future__ import annotations

from uuid import uuid4

Place = tuple[str, ...]
"""Project, stage and service. A file of a stage has two of them, a file of a project one."""


class Resources:
    """Every commit of every project; each `put` makes one."""

    def __init__(self) -> None:
        self._commits: dict[str, list[str]] = {}
        self._versions: dict[tuple[Place, str], dict[str, bytes | None]] = {}

    def put(self, place: Place, name: str, content: bytes | None) -> str:
        """Store a version, or remove the file with None; returns the commit."""
        commit = uuid4().hex + uuid4().hex[:8]
        self._commits.setdefault(place[0], []).append(commit)
        self._versions.setdefault((place, name), {})[commit] = content
        return commit

    def knows(self, project: str, commit: str) -> bool:
        """Whether the project has this commit; "" is its newest."""
        return not commit or commit in self._commits.get(project, [])

    def names(self, place: Place) -> list[str]:
        """The files that are there by now. Keptn leaves out every path with `.git` in it."""
        there = (name for of, name in self._versions if of == place and ".git" not in name)
        return sorted(name for name in there if self.get(place, name, "") is not None)

    def get(self, place: Place, name: str, commit: str) -> tuple[bytes, str] | None:
        """The content at a commit ("" for the newest), and that commit; None if it is absent."""
        commits = self._commits.get(place[0], [])
        wanted = commit or (commits[-1] if commits else "")
        if wanted not in commits:
            return None
        versions = self._versions.get((place, name), {})
        upto = commits[: commits.index(wanted) + 1]
        newest = next((versions[made] for made in reversed(upto) if made in versions), None)
        return None if newest is None else (newest, wanted)
