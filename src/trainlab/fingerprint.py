"""Which code a run's result comes from: a hash that changes when that code does, and only then."""

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

SOURCE = Path(__file__).resolve().parents[1]
# Not followed: what they decide for a run is part of its configuration, or they only parse arguments and show progress.
OPAQUE = ("trainlab.config", "trainlab.cli", "trainlab.fingerprint", "trainlab.training.progress")


def of_run(components: Iterable[object], scripts: Iterable[Path] = (), schema: type[BaseModel] | None = None) -> str:
    """Return the fingerprint of the code that a run executes.

    It covers the training loop, the scripts, the components, every function, class and constant of this project that
    these refer to, directly or indirectly, and every other top-level statement of the modules that they import. It hashes
    what the code says: comments, docstrings, layout, type hints of functions, messages of errors that are raised, the
    names and places of files, and the package's version do not count, nor does the version of Python.

    Parameters
    ----------
    components
        Every component of the run.
    scripts
        The scripts that train the run, such as stages/train.py. They may import their neighbors.
    schema
        The class of the run's configuration. A default in it that does not mean *absent* (0, False, "", [] or None)
        counts, because a written configuration leaves defaults out.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    scripts = list(scripts)
    code = _Code(_source((SOURCE, *dict.fromkeys(script.resolve().parent for script in scripts))))
    code.add(TRAINING)
    for script in scripts:
        code.add_script(script.stem)
    for component in components:
        code.add(_Definition(type(component).__module__, type(component).__qualname__))
    fields = schema.model_fields if schema else {}
    defaults = {name: info.default for name, info in fields.items() if not info.is_required()}
    texts = [*code.texts(), *(f"{name} = {value!r}" for name, value in defaults.items() if value)]
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:16]


class _Definition(NamedTuple):
    """A function, class or constant at the top level of a module; without a name, the whole module."""

    module: str
    name: str


TRAINING = _Definition("trainlab.training.replicas", "train")


@dataclass
class _Module:
    """A module's syntax tree, taken apart.

    Parameters
    ----------
    name
        The module's full name.
    file
        Its file.
    definitions
        By name: the statements that define it.
    imports
        By local name: what it stands for, as a full dotted name.
    effects
        All other top-level statements: they run when the module is imported.
    """

    name: str
    file: Path
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.imported: list[str] = []  # full names, for what importing them runs

    def add(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                found = self.names(statement)
                self.imports |= found
                self.imported += found.values()
                if isinstance(statement, ast.Import):
                    self.imported += [alias.name for alias in statement.names]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self.definitions.setdefault(name, []).append(statement)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self.definitions.setdefault(name, []).append(statement)
            case ast.If(test=test, orelse=[]) if _chain(test).rpartition(".")[2] == "TYPE_CHECKING":
                pass
            case _:
                self.effects.append(statement)

    def names(self, statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
        """Return the local names that an import statement binds, with their full names."""
        if isinstance(statement, ast.Import):  # `import a.b` binds `a`
            return {alias.asname or alias.name.partition(".")[0]: _bound(alias) for alias in statement.names}
        package = self.name.split(".")[: None if self.file.name == "__init__.py" else -1]
        base = package[: len(package) + 1 - statement.level] if statement.level else []
        origin = ".".join([*base, *filter(None, [statement.module])])
        return {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in statement.names}


def _bound(alias: ast.alias) -> str:
    return alias.name if alias.asname else alias.name.partition(".")[0]


def _parse(name: str, file: Path) -> _Module:
    module = _Module(name, file)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for statement in tree.body:
        if not _is_text(statement):
            _Bare().visit(statement)
            module.add(statement)
    return module


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a docstring, or another string that does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class _Bare(ast.NodeTransformer):
    """Remove what changes no result: docstrings, messages of errors, type hints in functions (a class's are fields)."""

    def __init__(self) -> None:
        self._in_function = False

    def visit(self, node: ast.AST) -> ast.AST | None:
        """Return the node without them, or None in place of a variable's hint without a value."""
        outside = self._in_function
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
            self._in_function = isinstance(node, ast.FunctionDef)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign) and self._in_function:
            node = ast.Assign(targets=[node.target], value=node.value) if node.value else ast.Pass()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc, node.cause = node.exc.func, None
        self.generic_visit(node)
        self._in_function = outside
        return node


class _Source:
    """The project's modules. Each is read once, and each of their statements is taken apart once.

    Parameters
    ----------
    roots
        Directories with the project's modules.
    """

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = roots
        self._modules: dict[str, _Module | None] = {}
        self._labels: dict[_Definition, str] = {}
        self._texts: dict[_Definition, list[str]] = {}
        self._targets: dict[_Definition, list[_Definition]] = {}

    def find(self, name: str) -> _Module | None:
        """Return a module of this project by its full name, or None if it has no such module."""
        if name not in self._modules:
            paths = (root.joinpath(*name.split(".")) for root in self._roots)
            files = (file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py"))
            file = next((file for file in files if file.is_file()), None)
            self._modules[name] = _parse(name, file) if file else None
        return self._modules[name]

    def module(self, name: str) -> _Module:
        module = self.find(name)
        assert module is not None, name
        return module

    def resolve(self, name: str) -> tuple[_Definition | None, str]:
        """Return the definition of this project that a full dotted name stands for, if any, and the name's rest.

        A name that a module only passes on (an import of an import) is followed to its definition.
        """
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            module_name = ".".join(parts[:length])
            module, rest = self.find(module_name), parts[length:]
            if module is None:
                continue
            if not rest:
                return _Definition(module_name, ""), ""
            if rest[0] in module.definitions:
                return _Definition(module_name, rest[0]), ".".join(rest[1:])
            if rest[0] in module.imports and module.imports[rest[0]] != name:
                return self.resolve(".".join([module.imports[rest[0]], *rest[1:]]))
            return _Definition(module_name, ""), ".".join(rest)
        return None, name

    def counts(self, definition: _Definition) -> bool:
        """Return whether a definition's text counts: not that of ``__version__`` and the like, nor lists of components."""
        if not definition.name or definition.name.startswith("__") or not _is_followed(definition.module):
            return False
        return not any(map(_only_lists_components, self.statements(definition)))

    def statements(self, definition: _Definition) -> list[ast.stmt]:
        """Return the statements of a definition; without a name, those that importing the module runs."""
        module = self.module(definition.module)
        return module.definitions[definition.name] if definition.name else module.effects

    def targets(self, definition: _Definition) -> list[_Definition]:
        """Return the definitions that these statements refer to."""
        if definition not in self._targets:
            references = self._references(definition)
            self._targets[definition] = [target for each in references for target in each.definitions]
        return self._targets[definition]

    def texts(self, definition: _Definition) -> list[str]:
        """Return each of these statements as text, with each reference by its label."""
        if definition not in self._texts:
            self._texts[definition] = [each.text(self._label) for each in self._references(definition)]
        return self._texts[definition]

    def _references(self, definition: _Definition) -> "list[_References]":
        module = self.module(definition.module)
        return [_References(self, module, statement) for statement in self.statements(definition)]

    def _label(self, definition: _Definition) -> str:
        """Return a name for a definition that says what it is and not where: two of one name stay distinct."""
        if not self.counts(definition):
            return definition.name or definition.module.rpartition(".")[2]
        if definition not in self._labels:  # not by labels inside: two definitions may refer to each other
            plain = [each.text(lambda target: target.name) for each in self._references(definition)]
            shallow = hashlib.sha256("\n".join(plain).encode()).hexdigest()[:8]
            self._labels[definition] = f"{definition.name}#{shallow}"
        return self._labels[definition]


@cache
def _source(roots: tuple[Path, ...]) -> _Source:
    return _Source(roots)


def _is_followed(module: str) -> bool:
    return not any(module == opaque or module.startswith(f"{opaque}.") for opaque in OPAQUE)


class _Code:
    """The definitions and statements that are reached from scripts and components.

    Parameters
    ----------
    source
        Where they are looked up.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source
        self.reached: dict[_Definition, None] = {}
        self.executed: dict[str, None] = {}  # modules whose top-level statements run

    def add_script(self, name: str) -> None:
        """Reach all of a script."""
        for defined in self._source.module(name).definitions:
            self.add(_Definition(name, defined))
        self._execute(name)

    def add(self, definition: _Definition) -> None:
        """Reach a definition, and all that it refers to."""
        if definition in self.reached or not _is_followed(definition.module):
            return
        self._execute(definition.module)
        if not definition.name:  # the module itself is passed around: anything in it may be used
            for name in self._source.module(definition.module).definitions:
                self.add(_Definition(definition.module, name))
            return
        if not self._source.counts(definition):
            return
        self.reached[definition] = None
        for target in self._source.targets(definition):
            self.add(target)

    def _execute(self, name: str) -> None:
        """Reach what importing a module runs: its package first, and the modules that it imports."""
        module = self._source.find(name)
        if name in self.executed or module is None or not _is_followed(name):
            return
        self.executed[name] = None
        if "." in name:
            self._execute(name.rpartition(".")[0])
        for target in self._source.targets(_Definition(name, "")):
            self.add(target)
        for imported in module.imported:
            self._execute(imported if self._source.find(imported) else imported.rpartition(".")[0])

    def texts(self) -> Iterator[str]:
        """Yield the text of each definition and statement that was reached."""
        for definition in (*self.reached, *(_Definition(name, "") for name in self.executed)):
            yield from self._source.texts(definition)


class _References:
    """The names in a statement that stand for something outside of it.

    Parameters
    ----------
    source
        To look them up.
    module
        The module that the statement is part of.
    statement
        Any statement of the module's top level.
    """

    def __init__(self, source: _Source, module: _Module, statement: ast.stmt) -> None:
        self._source, self._module, self._statement = source, module, statement
        inner = [node for node in ast.walk(statement) if isinstance(node, ast.Import | ast.ImportFrom)]
        self._imports: Mapping[str, str] = {
            **module.imports,
            **{local: name for node in inner for local, name in module.names(node).items()},
        }

    @cached_property
    def definitions(self) -> list[_Definition]:
        """The definitions of this project among them."""
        found = (self._resolve(chain)[0] for chain in _chains(self._statement))
        return [definition for definition in dict.fromkeys(found) if definition]

    def _resolve(self, chain: str) -> tuple[_Definition | None, str]:
        first, _, rest = chain.partition(".")
        if first in self._imports:
            return self._source.resolve(".".join(filter(None, [self._imports[first], rest])))
        if first in self._module.definitions:
            return _Definition(self._module.name, first), rest
        return None, ""

    def text(self, label: Callable[[_Definition], str]) -> str:
        """Return the statement as text without its imports, each reference by its definition's label or full name."""

        def name(chain: str) -> str:
            definition, rest = self._resolve(chain)
            return ".".join(filter(None, [definition and label(definition), rest])) or chain

        return _text(self._statement, name)


def _chains(node: ast.AST) -> Iterator[str]:
    """Yield every :func:`_chain` in a statement, each as long as it is."""
    if chain := _chain(node):
        yield chain
        return
    for child in ast.iter_child_nodes(node):
        yield from _chains(child)


def _chain(node: ast.AST) -> str:
    """Return ``a.b.c`` for an attribute of an attribute of a name; an empty string for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _chain(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def _only_lists_components(statement: ast.stmt) -> bool:
    """Whether a statement only gathers components, as ``Schedule = one_of(Constant, Step)`` does."""
    return (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Call)
        and _chain(statement.value.func).rpartition(".")[2] == "one_of"
    )


def _text(node: object, name: Callable[[str], str]) -> str:
    """Return a syntax tree as text, the same in every Python (``ast.dump`` shows fields that older ones lack).

    Parameters
    ----------
    node
        A node, a list of nodes, or a constant.
    name
        Called with each :func:`_chain`; returns its text.
    """
    if isinstance(node, list):
        return f"[{','.join(_text(item, name) for item in node if not isinstance(item, ast.Import | ast.ImportFrom))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if chain := _chain(node):
        return name(chain)
    fields = (
        f"{field}={_text(value, name)}"
        for field, value in ast.iter_fields(node)
        if value not in (None, []) and field not in ("ctx", "kind", "type_comment")
    )
    return f"{type(node).__name__}({','.join(fields)})"
