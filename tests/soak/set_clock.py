"""`remedy` with a wall clock that another process sets: run as a script, by the soak."""

import os
import time
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct

SHIFT_VARIABLE = "SOAK_SHIFT"
_SECONDS = Struct("d")


class WallClock:
    """The wall clock of a process that was started with the file's path in `SOAK_SHIFT`. The file
    holds by how many seconds it is ahead.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0.0)

    def set(self, shift: float) -> None:
        """Have the clock go so many seconds ahead; negative: behind."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(_SECONDS.pack(shift))  # in place: the process has mapped the file


def main() -> None:
    """Run `remedy` with the arguments of this script."""
    with Path(os.environ.pop(SHIFT_VARIABLE)).open("rb") as file:
        shift = mmap(file.fileno(), _SECONDS.size, access=ACCESS_READ)
    real = time.time
    time.time = lambda: real() + _SECONDS.unpack_from(shift)[0]

    from keptn_remedy.cli import main as remedy

    remedy()


if __name__ == "__main__":
    main()
