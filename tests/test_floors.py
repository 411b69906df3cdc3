"""The floors of the house: who imports whom, read from the source and not from what happens to be loaded."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import segmentation

PACKAGE = Path(segmentation.__file__).parent
MODULES = {
    ".".join(("segmentation", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

MAY_IMPORT = {
    "errors": set(),
    "parse_errors": set(),
    "typed": set(),
    "inference": {"errors"},
    "data": {"inference", "errors"},
    "metrics": {"inference", "errors"},
    "model": {"metrics", "inference", "errors"},
    "callbacks": {"model", "data", "metrics", "inference", "errors", "typed"},
    "evaluation": {"callbacks", "model", "data", "metrics", "inference", "errors", "typed"},
    "deployment": {"model", "data", "metrics", "inference", "errors"},
}
ABOVE = {
    "callbacks",
    "evaluation",
    "deployment",
    "model",
    "data",
    "metrics",
    "inference",
    "errors",
    "parse_errors",
    "typed",
}
MAY_IMPORT |= {"arguments": ABOVE, "cli": ABOVE | {"arguments"}, "commands": ABOVE | {"cli"}}
"""Floor -> the floors below that it may import; its own is always allowed."""

TORCH_FREE = {"numpy", "scipy", "skimage", "segmentation"}


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """Names of imported modules; ``from a import b`` gives ``a.b`` where that is a module of ours.

    Args:
        path: Of the source file.
        lazy: Also those within functions; those that only type checkers see are left out.
    """
    todo: list[ast.AST] = list(ast.parse(path.read_text()).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += node.orelse
        elif lazy or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo += ast.iter_child_nodes(node)


def ours(path: Path, *, lazy: bool = True) -> set[str]:
    return {name for name in imports(path, lazy=lazy) if name.split(".")[0] == "segmentation"}


def floor(module: str) -> str:
    return [*module.split("."), ""][1]


def inner_modules() -> list[str]:
    return [name for name in MODULES if floor(name) not in ("", "__main__")]


@pytest.mark.parametrize("module", inner_modules())
def test_a_module_imports_only_from_its_own_floor_and_those_below(module: str) -> None:
    own = floor(module)
    assert own in MAY_IMPORT, f"{own} is on no floor yet; give it one here and in CONTRIBUTING.md"
    upward = {name for name in ours(MODULES[module]) if floor(name) not in MAY_IMPORT[own] | {own}}
    assert upward == set()


def test_the_entry_loads_commands_only_when_they_are_called() -> None:
    top = ours(PACKAGE / "__main__.py", lazy=False)
    assert top <= {"segmentation", "segmentation.errors"}
    roots = {name.split(".")[0] for name in imports(PACKAGE / "__main__.py", lazy=False)}
    assert roots - {"segmentation"} <= sys.stdlib_module_names


def test_the_package_itself_loads_nothing() -> None:
    roots = {name.split(".")[0] for name in imports(PACKAGE / "__init__.py", lazy=False)}
    assert roots <= sys.stdlib_module_names


@pytest.mark.parametrize("module", [name for name, path in MODULES.items() if path.parent != PACKAGE])
def test_a_folder_of_the_package_runs_no_code_of_its_own(module: str) -> None:
    if MODULES[module].name == "__init__.py":
        tree = ast.parse(MODULES[module].read_text())
        assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body)


def test_no_module_imports_itself_around_a_circle() -> None:
    below = {module: ours(path) & MODULES.keys() for module, path in MODULES.items()}
    below["segmentation"] = set()  # its lazy names are no imports of its own
    left = dict(below)
    while left:
        free = [module for module, names in left.items() if not names & left.keys()]
        assert free, f"these import each other: {sorted(left)}"
        for module in free:
            del left[module]


def test_inference_runs_without_torch() -> None:
    roots = {
        name.split(".")[0]
        for module in MODULES
        if floor(module) in ("inference", "errors")
        for name in imports(MODULES[module])
    }
    assert roots <= TORCH_FREE | sys.stdlib_module_names


def test_one_file_imports_albumentations() -> None:
    users = {
        module
        for module, path in MODULES.items()
        if any(name.split(".")[0] in ("albumentations", "albucore") for name in imports(path))
    }
    assert users == {"segmentation.data.augmentation"}


def test_no_file_is_named_after_nothing() -> None:
    meaningless = {"utils", "util", "base", "helper", "helpers", "common", "misc", "registry", "factory"}
    parts = {part for path in MODULES.values() for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert parts & meaningless == set()


def test_the_reader_of_imports_sees_what_it_is_to_see(tmp_path: Path) -> None:
    """Were it blind, all tests above would pass."""
    file = tmp_path / "module.py"
    file.write_text(
        "import numpy.linalg\n"
        "from segmentation.data import splits\n"
        "if TYPE_CHECKING:\n    import hidden\n"
        "try:\n    import tried\nexcept ImportError:\n    pass\n"
        "class Class:\n    import inside\n    def method(self):\n        from segmentation.model.module import x\n"
    )
    top = {"numpy.linalg", "segmentation.data.splits", "tried", "inside"}
    assert set(imports(file, lazy=False)) == top
    assert set(imports(file)) == top | {"segmentation.model.module"}
