"""The site builds without a warning, every link on it leads somewhere, and it loads nothing from a network."""

import re
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from ndogo.docs import PAGES, ROOT, build_site

pytestmark = pytest.mark.skipif(find_spec("zensical") is None, reason="zensical is not installed: `make setup` does it")
LOADS = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}
"""Elements that a browser fetches by itself, and where they say what."""


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.anchors.add(str(found["id"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if tag in LOADS and found.get(LOADS[tag]) and found.get("rel") != "canonical":
            self.loads.append(str(found[LOADS[tag]]))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = tmp_path_factory.mktemp("docs").resolve() / "site"
    build_site(folder)
    return {file: Page(file) for file in sorted(folder.glob("*.html")) if file.name != "404.html"}


def test_every_page_of_the_docs_is_on_the_site_and_in_its_menu(pages: dict[Path, Page]):
    written = {file.stem for file in PAGES.glob("*.md")}
    assert {file.stem for file in pages} == written
    menu = set(re.findall(r'"([a-z-]+)\.md"', (ROOT / "zensical.toml").read_text(encoding="utf-8")))
    assert menu == written


def test_every_link_and_anchor_leads_somewhere(pages: dict[Path, Page]):
    dead = []
    for file, page in pages.items():
        for link in page.links + page.loads:
            if urlsplit(link).scheme:
                continue
            path, anchor = urldefrag(unquote(link))
            target = (file.parent / path.split("?")[0]).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{file.name}: {link}")
    assert len(pages) > 15 and dead == []


def test_nothing_is_loaded_from_a_network(pages: dict[Path, Page]):
    folder = next(iter(pages)).parent
    loaded = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    styles = [
        file.name
        for file in folder.rglob("*.css")
        if re.search(r"(url\(|@import )[\"']?(https?:)?//", file.read_text())
    ]
    assert (loaded, styles) == (set(), [])


def test_links_between_files_of_the_repository_lead_somewhere():
    dead = []
    for file in (*ROOT.glob("*.md"), *PAGES.glob("*.md")):
        text = re.sub(r"```.*?```|`[^`]*`", "", file.read_text(encoding="utf-8"), flags=re.S)
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if not urlsplit(link).scheme and not (file.parent / link).exists():
                dead.append(f"{file.name}: {link}")
    assert dead == []
