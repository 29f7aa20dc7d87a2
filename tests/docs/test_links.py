"""Every link between the project's pages leads somewhere, headings included."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages, prose

_link = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    dead = []
    for target in _link.findall(prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (anchor and goal.suffix == ".md" and anchor not in anchors(goal)):
            dead.append(target)
    assert dead == []


def test_every_page_of_the_docs_is_linked_from_another() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in pages()
        for target in _link.findall(prose(page))
        if "://" not in target
    }
    assert [str(page) for page in pages() if page.is_relative_to(ROOT / "docs") and page not in linked] == []


def test_the_index_of_the_docs_lists_each_page_but_single_decisions() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in _link.findall(prose(index))}
    expected = [page for page in pages() if page.is_relative_to(index.parent) and page.parent.name != "adr"]
    assert [page.name for page in expected if page not in {index, *linked}] == []


def test_the_table_of_decisions_lists_each_page() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    assert [path.name for path in folder.glob("[0-9]*.md") if f"({path.name})" not in index] == []
