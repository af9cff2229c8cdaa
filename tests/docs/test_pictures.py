"""The pictures of the page: small, and shown somewhere."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.png"))


def test_no_picture_is_large() -> None:
    assert PICTURES
    assert [it.name for it in PICTURES if it.stat().st_size > 150_000] == []


def test_each_picture_is_shown_in_the_documents() -> None:
    text = "".join(page.read_text("utf-8") for page in (ROOT / "README.md", ROOT / "docs/page.md"))
    assert [it.name for it in PICTURES if f"pictures/{it.name}" not in text] == []
