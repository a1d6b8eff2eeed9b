"""Which code a run's result came from: a hash that changes when that code does, and only then."""

import ast
import copy
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from trainlab.component import Component

PACKAGE = Path(__file__).parent
ROOTS = (
    "trainlab.training.loop",
    "trainlab.training.history",
)  # what makes a model, and what writes down how it came about
# params.yaml's schema gathers *all* parts; what it decides for a run stands in the run's configuration already.
NOT_FOLLOWED = ("trainlab.config", "trainlab.config.schema", "trainlab.fingerprint")


def of_run(parts: Iterable[Component]) -> str:
    """Fingerprint of the training loop, of the parts that a run names, and of all that these import inside trainlab.

    Docstrings, comments and layout do not count, nor does Python's version. In a file with several parts (optimizers,
    say), those that nothing here uses do not count either.

    Parameters
    ----------
    parts
        Every part of one run.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    named = {type(part) for part in parts}
    modules: set[str] = set()
    queue = [*ROOTS, *(part.__module__ for part in named)]
    while queue:
        module = queue.pop()
        if module not in modules:
            modules.add(module)
            queue += _imported_modules(module)
    used = {f"{part.__module__}.{part.__qualname__}" for part in named}.union(*map(_imported_names, modules))
    digest = hashlib.sha256()
    for module in sorted(modules):
        code = _code(module, frozenset(name for name in used if name.rpartition(".")[0] == module))
        digest.update(f"{module}\n{code}\n".encode())
    return digest.hexdigest()[:16]


def _file(module: str) -> Path | None:
    """The file of a module of this package; none for anything else."""
    first, *rest = module.split(".")
    if first != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*rest)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    """The module's syntax tree without docstrings."""
    file = _file(module)
    assert file is not None
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [line for line in body if not _is_bare_string(line)]
    return tree


def _is_bare_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those for type checking alone."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _running(node)


@cache
def _imported_names(module: str) -> list[str]:
    """What the module imports, each with its full name: ``trainlab.part.Component``."""
    names: list[str] = []
    for node in _running(_tree(module)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _imported_modules(module: str) -> list[str]:
    """The modules of this package among what the module imports."""
    nearest = [name if _file(name) else name.rpartition(".")[0] for name in _imported_names(module)]
    return sorted({name for name in nearest if _file(name)}.difference(NOT_FOLLOWED))


@cache
def _code(module: str, used: frozenset[str]) -> str:
    """The module's code as text, without the parts that are not used."""
    kept, unused = [], {}
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and _is_component(node) and f"{module}.{node.name}" not in used:
            unused[node.name] = node
        elif not _only_lists(node):
            kept.append(node)
    while needed := [name for name in unused if name in _mentioned(kept)]:
        kept += [unused.pop(name) for name in needed]
    return "\n".join(map(_text, _without_unused_imports(kept)))


def _without_unused_imports(lines: list[ast.stmt]) -> list[ast.stmt]:
    """The lines without what only the parts that were left out had imported."""
    mentioned = _mentioned(lines)
    kept: list[ast.stmt] = []
    for line in lines:
        if isinstance(line, ast.Import | ast.ImportFrom):
            names = [a for a in line.names if (a.asname or a.name).partition(".")[0] in mentioned]
            if not names:
                continue
            line = copy.copy(line)
            line.names = names
        kept.append(line)
    return kept


def _mentioned(lines: list[ast.stmt]) -> set[str]:
    return {node.id for line in lines for node in ast.walk(line) if isinstance(node, ast.Name)}


def _is_component(node: ast.ClassDef) -> bool:
    """Whether a class has a field like ``name: Literal["adam"]``."""
    return any(isinstance(line, ast.AnnAssign) and ast.unparse(line).startswith("name: Literal[") for line in node.body)


def _only_lists(node: ast.AST) -> bool:
    """Whether a line only gathers the file's parts, as in ``Schedule = one_of(Constant, Step)``."""
    return isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("one_of(")


def _text(node: object) -> str:
    """A syntax tree as text, the same in every Python (``ast.dump`` shows fields that older ones lack)."""
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    if isinstance(node, ast.AST):
        fields = (
            (name, value)
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in ("ctx", "kind")
        )
        return f"{type(node).__name__}({','.join(f'{name}={_text(value)}' for name, value in fields)})"
    return repr(node)
