"""What `make docs` adds to MkDocs: pages and pictures from outside docs/, the reference, and formulas as MathML.

The pages are written for reading in the repository, where a link may lead to any file. In the site, a link to another page leads
to that page, a link to any other file to a copy of it, and a link to a directory is plain text.
"""

import html
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Pages outside docs/, by their path in the repository.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```\w+) .*$", re.MULTILINE)  # ```python run: the words are for the tests
_ROLE = re.compile(
    r":(?:class|data|func|meth|mod):<code>~?(?:[\w.]*\.(?=\w+</code>))?"
)  # of docstrings, as Sphinx reads them
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and files that the site needs from outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for package in packages():
        files.append(File.generated(config, reference(package), content=reference_page(package)))
    pages = [_source(file) for file in files.documentation_pages() if not file.src_uri.startswith("reference/")]
    for path in sorted({path for source in pages for path in _files(source)}):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    source = _source(page.file)

    def rewritten(match: re.Match[str]) -> str:
        picture, text, link, anchor = match.groups()
        path = _path(source, link)
        if path is None:
            return match.group()
        if (ROOT / path).is_dir():
            return text
        return f"{picture}[{text}]({_page(path) or f'files/{path}'}{anchor or ''})"

    return _LINK.sub(rewritten, _FENCE.sub(r"\1", markdown))


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, which browsers show without a script, and cross-references of docstrings into names."""
    display = {"(": "inline", "[": "block"}
    content = _ROLE.sub("<code>", content)
    return _FORMULA.sub(lambda match: convert(html.unescape(match[3]), display=display[match[2]]), content)


def packages() -> list[str]:
    """Return the packages of the library, such as `trainlab.models`, with the modules at its top level first."""
    root = ROOT / "src"
    return [".".join(file.parent.relative_to(root).parts) for file in sorted(root.glob("trainlab/**/__init__.py"))]


def reference(package: str) -> str:
    """Return the page of a package in the reference."""
    return f"reference/{package}.md"


def reference_page(package: str) -> str:
    """Return the Markdown source of a package's page: every public module."""
    directory = ROOT / "src" / package.replace(".", "/")
    modules = [f"{package}.{file.stem}" for file in sorted(directory.glob("[a-z]*.py"))]
    return "\n\n".join([f"# {package}", f"::: {package}", *(f"## {module}\n\n::: {module}" for module in modules)])


def _source(file: File) -> str:
    """Return the path of a page in the repository."""
    outside = {page: source for source, page in PAGES.items()}
    return outside.get(file.src_uri, f"docs/{file.src_uri}")


def _files(source: str) -> Iterator[str]:
    """Yield the files in the repository, other than pages, that a page links to."""
    for _, _, link, _ in _LINK.findall((ROOT / source).read_text(encoding="utf-8")):
        path = _path(source, link)
        if path and not _page(path) and (ROOT / path).is_file():
            yield path


def _path(source: str, link: str) -> str | None:
    """Return the path in the repository that a page links to; none for another site."""
    return None if "://" in link else posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _page(path: str) -> str | None:
    """Return the page of the site for a path in the repository, if it is a page."""
    if path.startswith("docs/") and path.endswith(".md"):
        return path.removeprefix("docs/")
    return PAGES.get(path)
