#!/usr/bin/env bash
# watchfiles 1.3.0: a file that is watched by its path is followed no further than one replacement.
#
# Guess: `watch("flags.yaml")` tells each change of that file, as watching its folder does.
# Seen: the first replacement by a rename, which is how editors and careful programs write, is told.
#   It ends the watch: later replacements and even plain writes are not seen, and the loop waits on
#   without an error. Who tries a reload once sees it work. Of a file in a mounted ConfigMap, not even
#   the first change is told.
# Do: watch the folder, without a filter by the file's name, and read the file at each change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install watchfiles==1.3.0

mkdir "$folder/files"
"$folder/venv/bin/python" - "$folder/files" <<'PY'
import os
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

from watchfiles import watch

print("watchfiles", version("watchfiles"))
PAUSE = 3  # between two changes; a change is told within a second


class Followed:
    """Counts the times at which watchfiles tells of a change."""

    def __init__(self, path):
        self.told, self.stop = 0, threading.Event()
        self.thread = threading.Thread(target=self.follow, args=[path])

    def follow(self, path):
        for _changes in watch(path, stop_event=self.stop, rust_timeout=200):
            self.told += 1

    def told_of(self, changes):
        """Whether each of the changes is told."""
        self.thread.start()
        time.sleep(PAUSE)
        seen = []
        for change in changes:
            before = self.told
            change()
            time.sleep(PAUSE)
            seen.append(self.told > before)
        self.stop.set()
        self.thread.join()
        return seen


def replace(path):
    new = path.with_name("new")
    new.write_text("replaced")
    new.replace(path)


def changes_of(folder):
    """A file in a folder of its own, and three changes of it."""
    folder.mkdir()
    file = folder / "flags.yaml"
    file.write_text("first")
    return file, [
        lambda: replace(file),
        lambda: replace(file),
        lambda: file.write_text("written in place"),
    ]


def config_map(folder):
    """A file of a ConfigMap as the kubelet lays it, and an update of it."""

    def publish(number):
        version = folder / f"..version{number}"
        version.mkdir(parents=True)
        (version / "flags.yaml").write_text(str(number))
        os.symlink(version.name, folder / "..data_tmp")
        (folder / "..data_tmp").replace(folder / "..data")

    publish(1)
    file = folder / "flags.yaml"
    os.symlink("..data/flags.yaml", file)
    return file, [lambda: publish(2)]


root = Path(sys.argv[1])
file, changes = changes_of(root / "by-path")
seen = {"replaced, replaced, written; by path": Followed(file).told_of(changes)}
file, changes = changes_of(root / "by-folder")
seen["replaced, replaced, written; by folder"] = Followed(file.parent).told_of(changes)
file, changes = config_map(root / "config-map-by-path")
seen["ConfigMap; by path"] = Followed(file).told_of(changes)
file, changes = config_map(root / "config-map-by-folder")
seen["ConfigMap; by folder"] = Followed(file.parent).told_of(changes)
recorded = {
    "replaced, replaced, written; by path": [True, False, False],
    "replaced, replaced, written; by folder": [True, True, True],
    "ConfigMap; by path": [False],
    "ConfigMap; by folder": [True],
}
for what, value in seen.items():
    print(f"{what}: told {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
