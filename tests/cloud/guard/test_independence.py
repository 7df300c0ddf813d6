"""The guard shares no rule, import, ledger or decision with the engine that it watches."""

from tests.house_tree import imports, python_files

ALLOWED = ("cloud.guard", "cloud.configuration", "cloud.spelling", "cloud.vocabulary")


def is_allowed(module):
    return not f"{module}.".startswith("cloud.") or any(
        f"{module}.".startswith(f"{one}.") for one in ALLOWED
    )


def test_guard_imports_of_the_cloud_only_configuration_spelling_and_words():
    paths = [path for path in python_files("cloud") if path.startswith("cloud/guard/")]
    assert len(paths) > 10
    wrong = [
        f"{path}:{line}: {module}"
        for path in paths
        for line, module in imports(path)
        if not is_allowed(module) and module != "cloud"
    ]
    assert wrong == []
    assert not is_allowed("cloud.spools")
    assert not is_allowed("cloud.rules")


def test_nothing_in_the_engine_imports_the_guard():
    outside = [
        f"{path}:{line}: {module}"
        for path in python_files("cloud")
        if not path.startswith(("cloud/guard/", "cloud/cli/"))
        for line, module in imports(path)
        if f"{module}.".startswith("cloud.guard.")
    ]
    assert outside == []
