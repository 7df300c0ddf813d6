"""Reads the project's own files for `tests/test_house.py`: paths, syntax trees, imports, sizes."""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests import house_plan as plan

ROOT = Path(__file__).resolve().parent.parent
GENERATED = frozenset({"__pycache__", "build", "dist", "node_modules"})
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith, ast.Match)


@cache
def all_files() -> tuple[str, ...]:
    """Every file of the project, as a path from its root; nothing hidden but .ci, nothing made."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [one for one in folders if _is_ours(one)]
        found += [Path(folder, name).relative_to(ROOT).as_posix() for name in names]
    return tuple(sorted(found))


def _is_ours(folder: str) -> bool:
    return (
        (folder == ".ci" or folder[0] != ".")
        and folder not in GENERATED
        and ".egg-info" not in folder
    )


@cache
def text(path: str) -> str:
    """The file's text; nothing when there is no such file, or it is a picture or the like."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


@cache
def tree(path: str) -> ast.Module:
    return ast.parse(text(path), filename=path)


def python_files(*packages: str) -> list[str]:
    """The Python files of these packages, or of all the house."""
    tops = packages or tuple(plan.IMPORT_LAW)
    return [path for path in all_files() if path.endswith(".py") and path.split("/")[0] in tops]


def exists(package: str) -> bool:
    return f"{package}/__init__.py" in all_files()


@cache
def imports(path: str) -> tuple[tuple[int, str], ...]:
    """(line, dotted name) of every import, wherever it stands; `from a import b` is `a.b`."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return tuple(found)


def file_of(module: str) -> str | None:
    """The file of a dotted name of ours, whether it names a module or something in one."""
    while module:
        base = module.replace(".", "/")
        for path in (f"{base}.py", f"{base}/__init__.py"):
            if path in all_files():
                return path
        module = module.rpartition(".")[0]
    return None


def functions(path: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


def measured(path: str) -> Iterator[tuple[str, int, int, int]]:
    """(key in OVER_THE_CEILING, line, size, ceiling) of everything in the file with a ceiling."""
    lines = text(path).splitlines()
    yield f"lines {path}", len(lines), len(lines), plan.MAX_FILE_LINES
    for number, line in enumerate(lines, 1):
        yield f"columns {path}:{number}", number, len(line), plan.MAX_LINE_COLUMNS
    for node in functions(path):
        where, line = f"{path}:{node.name}", node.lineno
        yield f"function {where}", line, length(node), plan.MAX_FUNCTION_LINES
        yield f"nesting {where}", line, nesting(node.body), plan.MAX_NESTING
        if not path.startswith("tests/"):  # a scenario may need many facts
            yield f"arguments {where}", line, count_arguments(node.args), plan.MAX_ARGUMENTS


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def count_arguments(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([one for one in named if one.arg not in {"self", "cls"}])


def nesting(body: list[ast.stmt]) -> int:
    """How many blocks stand in each other; an `elif` is as deep as its `if`."""
    return max((_depth(statement) for statement in body), default=0)


def _depth(block: ast.stmt) -> int:
    if not isinstance(block, BLOCKS):
        return 0
    inner: list[ast.stmt] = list(getattr(block, "body", []))
    for part in (*getattr(block, "handlers", []), *getattr(block, "cases", [])):
        inner += part.body
    inner += getattr(block, "finalbody", [])
    following = getattr(block, "orelse", [])
    if len(following) == 1 and following[0].col_offset == block.col_offset:
        return max(1 + nesting(inner), nesting(following))
    return 1 + nesting(inner + following)


def names_defined(path: str) -> Iterator[tuple[int, str]]:
    """(line, name) of what the file gives a name to; what it only uses was named elsewhere."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
