"""Links of the pages lead somewhere; README's tree and diagram show what is there."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pages import PAGES, PROJECT, blocks, read, tracked_directories

LINK = re.compile(r"\]\(([^)\s]*?)(?:#([^)\s]*))?\)")


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    for path, anchor in LINK.findall(read(page)):
        if path.startswith(("https://", "http://")):
            continue
        target = (PROJECT / page).parent / path if path else PROJECT / page
        assert target.exists(), f"{page} links to {path}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page} links to {path}#{anchor}"


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_reaches_every_page() -> None:
    linked = {path for path, _ in LINK.findall(read("README.md"))}
    assert {page for page in PAGES if page.startswith("docs/")} <= linked


def test_file_tree() -> None:
    [tree] = [block.text for block in blocks("README.md") if block.info == ("text",)]
    shown: list[str] = []
    parent = ""
    for line in tree.splitlines():
        entry = re.fullmatch(r"( *)(\S+)/ +(\S.*)", line)
        assert entry, f"not a directory and a phrase: {line}"
        indent, name, _ = entry.groups()
        shown.append(f"{parent}/{name}" if indent else name)
        parent = parent if indent else name
    tracked = tracked_directories()
    at_root = {name for name in tracked if "/" not in name and not name.startswith(".") and name != "src"}
    packages = {name for name in tracked if Path(name).parent == Path("src/trainlab")}
    written = {name.split("/")[0] for name in outputs(stages("dvc.yaml"))}
    assert at_root | packages | {"src/trainlab"} <= set(shown)
    assert set(shown) <= at_root | packages | {"src/trainlab"} | written


def test_diagram_shows_every_stage_and_only_real_dependencies() -> None:
    [diagram] = [block.text for block in blocks("README.md") if block.info == ("mermaid",)]
    edges = {
        edge
        for line in diagram.splitlines()[1:]
        for names in [[name.strip() for name in re.split(r"-->|-- \w+ -->", line)]]
        for edge in pairwise(names)
    }
    project = stages("dvc.yaml")
    assert {name for edge in edges for name in edge} == project.keys()
    for producer, consumer in edges:
        made, used = outputs({producer: project[producer]}), inputs(project[consumer])
        assert any(overlap(out, dep) for out in made for dep in used), f"{consumer} does not depend on {producer}"


def stages(file: str) -> dict[str, Any]:
    """Return the stages of a dvc.yaml, without the levels that `foreach` adds."""
    project = YAML(typ="safe", pure=True).load((PROJECT / file).read_text(encoding="utf-8"))
    return {name: stage.get("do", stage) for name, stage in project["stages"].items()}


def outputs(project: dict[str, Any]) -> set[str]:
    """Return the paths that stages write; what DVC fills in is a `*`."""
    kinds = ("outs", "metrics", "plots")
    return {pattern(entry) for stage in project.values() for kind in kinds for entry in stage.get(kind, [])}


def inputs(stage: dict[str, Any]) -> set[str]:
    """Return the paths that a stage depends on."""
    return {pattern(entry) for entry in stage["deps"]}


def pattern(entry: str | dict[str, Any]) -> str:
    """Return the path of an output or a dependency, with `*` for what DVC fills in."""
    path = entry if isinstance(entry, str) else next(iter(entry))
    return re.sub(r"\$\{.*?\}", "*", path)


def overlap(one: str, other: str) -> bool:
    """Whether one path may be the other, or a directory that contains it."""
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return all(a == b or re.fullmatch(wild(a), b) or re.fullmatch(wild(b), a) for a, b in pairs)


def wild(name: str) -> str:
    """Return a pattern of the names that a `*` covers."""
    return re.escape(name).replace(r"\*", ".*")
