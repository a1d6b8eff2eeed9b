"""Which code a run's result comes from: a hash that changes when that code does, and only then."""

import ast
import copy
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
    code = _Code((SOURCE, *dict.fromkeys(script.resolve().parent for script in scripts)))
    code.add(TRAINING)
    for script in scripts:
        code.add_script(code.module(script.stem))
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


TRAINING = _Definition("trainlab.training.loop", "train")


@dataclass
class _Module:
    """A module's syntax tree, taken apart.

    Parameters
    ----------
    name
        The module's full name.
    definitions
        By name: the statements that define it.
    imports
        By local name: what it stands for, as a full dotted name.
    effects
        All other top-level statements: they run when the module is imported.
    """

    name: str
    is_package: bool
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
            case ast.If() if _is_for_type_checking(statement):
                pass
            case _:
                self.effects.append(statement)

    def names(self, statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
        """Return the local names that an import statement binds, with their full names."""
        if isinstance(statement, ast.Import):  # `import a.b` binds `a`
            return {alias.asname or alias.name.partition(".")[0]: _bound(alias) for alias in statement.names}
        package = self.name.split(".")[: None if self.is_package else -1]
        base = package[: len(package) + 1 - statement.level] if statement.level else []
        origin = ".".join([*base, *filter(None, [statement.module])])
        return {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in statement.names}


def _bound(alias: ast.alias) -> str:
    return alias.name if alias.asname else alias.name.partition(".")[0]


def _is_for_type_checking(statement: ast.If) -> bool:
    return ast.unparse(statement.test).endswith("TYPE_CHECKING")


@cache
def _parse(name: str, file: Path) -> _Module:
    module = _Module(name, is_package=file.name == "__init__.py")
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


class _Code:
    """The definitions and statements that are reached from scripts and components.

    Parameters
    ----------
    roots
        Directories with the project's modules.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(roots)
        self._reached: dict[_Definition, None] = {}
        self._executed: dict[str, None] = {}  # modules whose top-level statements run

    def module(self, name: str) -> _Module:
        file = self._file(name)
        assert file is not None, name
        return _parse(name, file)

    def _file(self, name: str) -> Path | None:
        paths = (root.joinpath(*name.split(".")) for root in self._roots)
        files = (file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py"))
        return next((file for file in files if file.is_file()), None)

    def add_script(self, script: _Module) -> None:
        """Reach all of a script."""
        for name in script.definitions:
            self.add(_Definition(script.name, name))
        self._execute(script.name)

    def add(self, definition: _Definition) -> None:
        """Reach a definition, and all that it refers to."""
        if definition in self._reached or not self._is_followed(definition.module):
            return
        module = self.module(definition.module)
        self._execute(definition.module)
        if not definition.name:  # the module itself is passed around: anything in it may be used
            for name in module.definitions:
                self.add(_Definition(module.name, name))
            return
        statements = module.definitions[definition.name]
        if definition.name.startswith("__") or any(map(_only_lists_components, statements)):
            return
        self._reached[definition] = None
        for statement in statements:
            self._follow(module, statement)

    def _execute(self, name: str) -> None:
        """Reach what importing a module runs, the modules that it imports included."""
        if name in self._executed:
            return
        self._executed[name] = None
        module = self.module(name)
        for effect in module.effects:
            self._follow(module, effect)
        for imported in module.imported:
            nearest = imported if self._file(imported) else imported.rpartition(".")[0]
            if nearest and self._file(nearest) and self._is_followed(nearest):
                self._execute(nearest)

    def _is_followed(self, module: str) -> bool:
        return not any(module == opaque or module.startswith(f"{opaque}.") for opaque in OPAQUE)

    def _follow(self, module: _Module, statement: ast.stmt) -> None:
        for target in _References(self, module, statement).definitions:
            self.add(target)

    def resolve(self, name: str) -> tuple[_Definition | None, str]:
        """Return the definition of this project that a full dotted name stands for, if any, and the name's rest.

        A name that a module only passes on (an import of an import) is followed to its definition.
        """
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            module_name = ".".join(parts[:length])
            if not self._file(module_name):
                continue
            module, rest = self.module(module_name), parts[length:]
            if not rest:
                return _Definition(module_name, ""), ""
            if rest[0] in module.definitions:
                return _Definition(module_name, rest[0]), ".".join(rest[1:])
            if rest[0] in module.imports and module.imports[rest[0]] != name:
                return self.resolve(".".join([module.imports[rest[0]], *rest[1:]]))
            return _Definition(module_name, ""), ".".join(rest)
        return None, name

    def texts(self) -> Iterator[str]:
        """Yield the text of each definition and statement that was reached."""
        for definition in self._reached:
            module = self.module(definition.module)
            for statement in module.definitions[definition.name]:
                yield self._text(module, statement)
        for name in self._executed:
            module = self.module(name)
            yield from (self._text(module, effect) for effect in module.effects)

    def _text(self, module: _Module, statement: ast.stmt) -> str:
        return _text(_References(self, module, statement).replaced(self._label))

    def _label(self, definition: _Definition) -> str:
        """Return a name for a definition that says what it is and not where: two of one name stay distinct."""
        if not definition.name or definition.name.startswith("__") or not self._is_followed(definition.module):
            return definition.name or definition.module.rpartition(".")[2]
        statements = self.module(definition.module).definitions[definition.name]
        shallow = hashlib.sha256("\n".join(map(_text, statements)).encode()).hexdigest()[:8]
        return definition.name if any(map(_only_lists_components, statements)) else f"{definition.name}#{shallow}"


class _References:
    """The names in a statement that stand for something outside of it.

    Parameters
    ----------
    code
        To look them up.
    module
        The module that the statement is part of.
    statement
        Any statement of the module's top level.
    """

    def __init__(self, code: _Code, module: _Module, statement: ast.stmt) -> None:
        self._code, self._module, self._statement = code, module, statement
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
            return self._code.resolve(".".join(filter(None, [self._imports[first], rest])))
        if first in self._module.definitions:
            return _Definition(self._module.name, first), rest
        return None, ""

    def replaced(self, label: Callable[[_Definition], str]) -> ast.AST:
        """Return the statement without its imports, with each reference by its definition's label or full name."""
        references = self

        class Replace(ast.NodeTransformer):
            def visit(self, node: ast.AST) -> ast.AST | None:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    return None
                if chain := _chain(node):
                    first = chain.partition(".")[0]
                    definition, rest = references._resolve(chain)
                    if definition:
                        return ast.Name(".".join(filter(None, [label(definition), rest])), ast.Load())
                    if first in references._imports:
                        return ast.Name(rest or chain, ast.Load())
                return self.generic_visit(node)

        replaced = Replace().visit(copy.deepcopy(self._statement))
        assert replaced is not None
        return replaced


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


def _text(node: object) -> str:
    """Return a syntax tree as text, the same in every Python (``ast.dump`` shows fields that older ones lack)."""
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    if isinstance(node, ast.AST):
        fields = (
            (name, value)
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in ("ctx", "kind", "type_comment")
        )
        return f"{type(node).__name__}({','.join(f'{name}={_text(value)}' for name, value in fields)})"
    return repr(node)
