"""The documentation builds as a site: no warning, no link that leads nowhere, nothing loaded from elsewhere."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pages import PAGES, PROJECT

pytestmark = pytest.mark.slow

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src"}


def build(project: Path, target: Path) -> subprocess.CompletedProcess[str]:
    # The configuration is strict: a warning fails.
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(target)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    built = build(PROJECT, target)
    assert built.returncode == 0, built.stderr
    return target


class Parsed(HTMLParser):
    """The links, identifiers and loaded files of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag in LOADED and LOADED[tag] in values and values.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.add(values[LOADED[tag]])


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {page: Parsed(page) for page in site.rglob("*.html") if page.name != "404.html"}
    for page, parsed in pages.items():
        for link in parsed.links | parsed.loaded:
            if "://" in link or link.startswith(("mailto:", "data:")):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if target.is_dir():
                target /= "index.html"
            assert target.is_file(), f"{page.name} links to {link}"
            if anchor and target.suffix == ".html":
                assert anchor in pages[target].ids, f"{page.name} links to {link}"


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not {link for link in Parsed(page).loaded if link.startswith(("http", "//"))}


def test_every_page_is_in_the_site_and_in_its_menu(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    names = {"README.md": "index", "benchmarks/README.md": "benchmarks"}
    skipped = {"data/folder/README.md"}  # for those who look into the directory
    for page in set(PAGES) - skipped:
        name = names.get(page, Path(page).stem.lower())
        assert (site / f"{name}.html").is_file()
        assert f'href="{name}.html"' in text or name == "index"


def test_every_package_is_in_the_reference(site: Path) -> None:
    menu = str(YAML(typ="safe", pure=True).load(re.sub("!!python.*", "", (PROJECT / "mkdocs.yml").read_text()))["nav"])
    for file in (PROJECT / "src").glob("trainlab/**/__init__.py"):
        package = ".".join(file.parent.relative_to(PROJECT / "src").parts)
        assert f"reference/{package}.md" in menu
        page = (site / f"reference/{package}.html").read_text(encoding="utf-8")
        for module in file.parent.glob("[a-z]*.py"):
            assert f"{package}.{module.stem}" in page


def test_formulas_and_diagrams_are_rendered(site: Path) -> None:
    statistics = (site / "statistics.html").read_text(encoding="utf-8")
    assert statistics.count("<math") >= 10
    assert "arithmatex" not in statistics
    assert '<pre class="mermaid">' in (site / "index.html").read_text(encoding="utf-8")


def test_broken_links_stop_the_build(tmp_path: Path) -> None:
    project = tmp_path / "project"
    skipped = shutil.ignore_patterns(".git", ".venv", ".work", "models", "predictions", "data", ".dvc", "mutants")
    shutil.copytree(PROJECT, project, ignore=skipped, symlinks=True)
    links = ["[page](no-page.md)", "[anchor](statistics.md#no-anchor)", "![picture](../plots/no-picture.png)"]
    page = project / "docs/gpu.md"
    page.write_text("\n\n".join([page.read_text(encoding="utf-8"), *links]), encoding="utf-8")
    built = build(project, tmp_path / "site")
    assert built.returncode != 0
    assert all(name in built.stderr for name in ("no-page", "no-anchor", "no-picture"))
