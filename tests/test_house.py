"""Holds the code to the plan in `tests/house_plan.py`: imports, sizes, names, words, citations.

Every failure names file and line, the value that was found, and the cure.
"""

import ast
import re
import statistics
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import house_plan as plan
from tests.house_tree import (
    all_files,
    exists,
    file_of,
    functions,
    imports,
    length,
    measured,
    names_defined,
    python_files,
    text,
    tree,
)

LOCK = "requirements.lock"
# They hold the forbidden words because they forbid them.
THE_LAW_ITSELF = ("tests/test_house.py", "tests/house_plan.py")


def report(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(sorted(set(problems))), pytrace=False)


# The import law


def test_every_package_that_is_shipped_exists() -> None:
    wheel = tomllib.loads(text("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    report(
        [
            f"pyproject.toml: ships '{package}', which has no __init__.py: write it or take it out"
            for package in wheel["packages"]
            if not exists(package)
        ]
    )


def test_every_python_file_stands_in_a_part_of_the_house() -> None:
    report(
        [
            f"{path}: '{path.split('/')[0]}' is not in IMPORT_LAW: say what it may import"
            for path in all_files()
            if path.endswith(".py") and path.split("/")[0] not in plan.IMPORT_LAW
        ]
    )


def test_packages_import_only_what_the_law_allows() -> None:
    problems = []
    for path in python_files():
        own = path.split("/")[0]
        allowed = plan.IMPORT_LAW_OF_FILES.get(path, plan.IMPORT_LAW[own]) | {own}
        for line, module in imports(path):
            top = module.split(".")[0]
            if module.startswith("."):
                problems.append(f"{path}:{line}: relative import: write the module's whole name")
            elif top in plan.IMPORT_LAW and top not in allowed:
                problems.append(
                    f"{path}:{line}: imports {module}; it may import only {sorted(allowed)}: "
                    "hand the value in, or move the code to where both sides may see it"
                )
    report(problems)


def test_parts_stay_within_their_bounds() -> None:
    report(
        [
            f"{path}:{line}: imports {module}: {why}"
            for part, (forbidden, why) in plan.OUT_OF_BOUNDS.items()
            for path in python_files()
            if plan.matches(path, (part,))
            for line, module in imports(path)
            if module.split(".")[0] in forbidden
            and not f"{module}.".startswith(part.replace("/", "."))
        ]
    )


def test_each_library_is_imported_only_at_its_home() -> None:
    problems = []
    for path in python_files(*plan.PRODUCT):
        for line, module in imports(path):
            library = module.split(".")[0]
            if library in plan.IMPORT_LAW or library in sys.stdlib_module_names or not library:
                continue
            homes = plan.LIBRARY_HOMES.get(library)
            if homes is None:
                problems.append(f"{path}:{line}: {library} has no home: give it one, or do without")
            elif not plan.matches(path, homes):
                problems.append(
                    f"{path}:{line}: imports {module}; {library} lives in {', '.join(homes)}: "
                    "call what stands there"
                )
    report(problems)


def test_pure_middle_imports_nothing_that_does_io() -> None:
    problems: list[str] = []
    for pure in plan.PURE_MODULES:
        if pure in all_files():
            problems += _ways_to_io(pure)
        elif exists(pure.split("/")[0]):
            problems.append(f"{pure}: listed as pure, does not exist: write it or correct the plan")
    report(problems)


def _ways_to_io(pure: str) -> Iterator[str]:
    """One way to each import that does I/O, over whatever the module imports of ours."""
    ways = {pure: pure}
    waiting = [pure]
    for path in waiting:  # grows while it is walked, by each file once
        for line, module in imports(path):
            if module.split(".")[0] in plan.DOES_IO:
                yield (
                    f"{ways[path]}:{line}: imports {module}, and {pure} is pure: "
                    "hand in the clock, randomness, ids and bytes"
                )
            following = file_of(module)
            if following and following not in ways:
                ways[following] = f"{ways[path]} -> {following}"
                waiting.append(following)


def test_pure_middle_calls_nothing_that_reads_the_world() -> None:
    problems = []
    for path in set(plan.PURE_MODULES) & set(all_files()):
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in plan.READS_THE_WORLD:
                problems.append(f"{path}:{node.lineno}: calls {name}(): make it an argument")
    report(problems)


# Sizes


def test_nothing_is_larger_than_its_ceiling() -> None:
    problems = []
    over: set[str] = set()
    for path in python_files():
        for key, line, size, ceiling in measured(path):
            today = plan.OVER_THE_CEILING.get(key)
            if size > ceiling:
                over.add(key)
            if size > max(ceiling, today or 0):
                problems.append(f"{path}:{line}: '{key}' is {size}, at most {ceiling}: divide it")
            elif ceiling < size != today:
                problems.append(f"{path}:{line}: '{key}' shrank to {size}: say so in the ratchet")
    problems += [
        f"tests/house_plan.py: '{key}' is over no ceiling: take it off the ratchet"
        for key in plan.OVER_THE_CEILING.keys() - over
    ]
    report(problems)


def test_functions_are_short_at_the_median() -> None:
    lengths: dict[str, list[int]] = defaultdict(list)
    for path in python_files(*plan.PRODUCT):
        lengths[path.split("/")[0]] += [length(node) for node in functions(path)]
    report(
        [
            f"{package}/: the median function has {median} lines, at most "
            f"{plan.MAX_MEDIAN_FUNCTION_LINES}: push ifs up and fors down"
            for package, sizes in lengths.items()
            if sizes and (median := statistics.median(sizes)) > plan.MAX_MEDIAN_FUNCTION_LINES
        ]
    )


# Names and words


def test_files_and_folders_are_named_after_the_domain() -> None:
    problems = []
    for path in all_files():
        words = set(re.split(r"[/._-]", path.lower())) & plan.BANNED_FILE_WORDS
        problems += [f"{path}: '{one}' says nothing: name what it is about" for one in words]
    report(problems)


def test_names_in_code_are_the_words_of_the_glossary() -> None:
    problems = []
    for path in python_files(*plan.PRODUCT, "bench"):
        for line, name in [(1, path.removesuffix(".py")), *names_defined(path)]:
            snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("/", "_")
            problems += [
                f"{path}:{line}: '{name}': the word is {right}"
                for word, (right, where) in plan.BANNED_WORDS.items()
                if f"_{word}_" in f"_{snake}_" and not plan.matches(path, where)
            ]
    report(problems)


def test_every_package_lists_its_files_in_reading_order() -> None:
    problems = []
    for init in python_files(*plan.PRODUCT):
        folder = init.removesuffix("__init__.py")
        if folder == init or plan.matches(init, plan.SCRIPT_FOLDERS):
            continue
        docstring = ast.get_docstring(tree(init)) or ""
        inside = {path.removeprefix(folder) for path in python_files() if path.startswith(folder)}
        modules = {one.removesuffix(".py").removesuffix("/__init__") for one in inside}
        modules = {one for one in modules if "/" not in one} - {"__init__"}
        listed = {
            one.strip("/") for one in re.findall(r"^\s*[*-] `([\w/]+)`", docstring, re.MULTILINE)
        }
        problems += [f"{init}:1: does not list * `{one}`: ..." for one in modules - listed]
        problems += [f"{init}:1: lists `{one}`, which is not there" for one in listed - modules]
    report(problems)


def test_every_folder_of_python_files_is_a_package() -> None:
    report(
        [
            f"{folder}/__init__.py: missing: two tests of one name would hide each other"
            for path in python_files(*plan.PRODUCT, "tests", "bench")
            if not plan.matches(path, plan.SCRIPT_FOLDERS)
            and not exists(folder := path.rpartition("/")[0])
        ]
    )


# Citations


def test_every_invariant_is_cited_by_a_test() -> None:
    tests = [text(path) for path in python_files("tests") if path not in THE_LAW_ITSELF]
    report(
        [
            f"tests/: no test cites {one} by its number: write one that fails when it is broken"
            for one in plan.CITED_INVARIANTS
            if not any(re.search(rf"\b{one}\b", source) for source in tests)
        ]
    )


def test_every_refusal_reason_stands_in_the_protocol() -> None:
    reasons = [
        (f"{path}:{value.lineno}", str(value.value.value))
        for path in python_files("wire")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and node.name == "RefusalReason"
        for value in node.body
        if isinstance(value, ast.Assign) and isinstance(value.value, ast.Constant)
    ]
    if not reasons:
        report(["wire/: no enum RefusalReason with values: the agent's refusals are spelt there"])
    report(
        [
            f"{where}: docs/protocol.md does not name `{reason}`: add it to the refusals"
            for where, reason in reasons
            if f"`{reason}`" not in text("docs/protocol.md")
        ]
    )


# Texts, the lock, the first screen


def test_no_file_names_unfinished_work_or_somebodys_machine() -> None:
    forbidden = {
        r"\b(TODO|FIXME|XXX)\b": "finish it or open an issue",
        r"(?<![\w.~$}/-])/(home|root|Users|work)/\w": "no path of one machine",
        r"pypi\.org|pythonhosted|--(extra-)?index-url|--find-links": "no address of an index",
        r"[ \t]+$": "no blanks at the end of a line",
    }
    problems = []
    for path in set(all_files()) - {*THE_LAW_ITSELF, "LICENSE"}:
        for pattern, cure in forbidden.items():
            for found in re.finditer(pattern, text(path), re.MULTILINE):
                line = text(path).count("\n", 0, found.start()) + 1
                problems.append(f"{path}:{line}: '{found.group()}': {cure}")
    report(problems)


def test_lock_holds_only_versions_with_hashes() -> None:
    pinned = re.compile(r"[a-z0-9-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|    #.*")
    report(
        [
            f"{LOCK}:{number}: '{line[:60]}' is no version or hash: ./run lock"
            for number, line in enumerate(text(LOCK).splitlines(), 1)
            if not pinned.fullmatch(line)
        ]
    )


def test_lock_satisfies_every_requirement() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    groups = [
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text(LOCK), re.MULTILINE))
    needs = [Requirement(one) for group in groups for one in group]
    report(
        [
            f"pyproject.toml: '{need}', but {LOCK} has {locked.get(need.name)}: ./run lock"
            for need in needs
            if need.name != project["project"]["name"]
            and not need.specifier.contains(locked.get(canonicalize_name(need.name), "0"))
        ]
    )


def test_first_screen_and_ci_name_the_commands_that_exist() -> None:
    wanted = {
        "README.md": ("./run demo", "./run test"),
        ".ci/run": ("./run check", "./run test"),
        "CONTRIBUTING.md": ("./run check", "./run test"),
    }
    report(
        [
            f"{path}: does not name `{command}`: a newcomer starts there"
            for path, commands in wanted.items()
            for command in commands
            if command not in text(path)
        ]
    )
