"""Hooks of `make docs`: README is the first page, and links to files beside docs/ become text."""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add README as the index; its links begin one folder higher."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    files.append(File.generated(config, "index.md", content=_kept(text, ROOT)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leave only links that the site can follow."""
    if page.file.src_uri == "index.md":
        return markdown
    return _kept(markdown, (ROOT / "docs" / page.file.src_uri).parent)


def _kept(markdown: str, folder: Path) -> str:
    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path = target.partition("#")[0]
        if not path or "://" in target or target.startswith("mailto:"):
            return found[0]
        here = ROOT / "docs" if folder == ROOT else folder
        if (here / path).resolve().is_relative_to(ROOT / "docs") and (here / path).is_file():
            return found[0]
        return text

    return _LINK.sub(link, markdown)


_LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//|<link[^>]+href=\"?https?://"
)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that loads anything from elsewhere."""
    if found := _LOADED.search(output):
        raise PluginError(
            f"{page.file.src_uri} loads from elsewhere: {output[found.start() :][:120]}"
        )
    return output
