"""What the files of standalone mode raise, apart from what reads them."""

from __future__ import annotations


class SourcesError(Exception):
    """The file is invalid. `mistakes` has one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes
