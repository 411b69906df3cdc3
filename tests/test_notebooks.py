"""Every notebook runs in a copy, and is committed with the outputs of the code it holds.

``python tests/test_notebooks.py`` runs them in full and saves them so.
"""

import ast
import hashlib
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {"quickstart": {"slices": 5, "size": 64, "crop": 32, "samples_per_epoch": 16, "epochs": 2}}
"""Notebook -> what its cell with the tag ``parameters`` sets in the test."""

AGAIN = "run `python tests/test_notebooks.py`"


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SMALL)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # else a history in the home folder
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as fast on images this small, and no spinning on a busy machine
    committed, notebook = nbformat.read(path, 4), nbformat.read(path, 4)
    _set_parameters(notebook, SMALL[path.stem])
    execute(notebook, tmp_path)
    for before, after in zip(_code(committed), _code(notebook), strict=True):
        assert _kinds(before) == _kinds(after), f"{path.name}, cell {before.id}: {AGAIN}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_as_it_ran(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    cells = _code(notebook)
    assert notebook.metadata.get("ran") == _digest(notebook), f"{path.name} was edited after its run: {AGAIN}"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/jpeg" in kinds for cell in cells for kinds in _kinds(cell))
    assert path.stat().st_size < 400_000
    text = "\n".join(cell.source for cell in notebook.cells) + "\n".join(map(_text, cells))
    assert not re.search(r"(^|[\s'\"=:(])(/[\w.-]+/|[A-Z]:\\)", text), "a path of one machine"
    for config in re.findall(r"configs/\w+\.yaml", text):
        assert (ROOT / config).is_file()


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a copy of the folders that they use, so that no run lands in the checkout."""
    for name in ("notebooks", "configs"):
        shutil.copytree(ROOT / name, folder / name)
    NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder / "notebooks")}},
    ).execute()


def save(path: Path) -> None:
    """Run a notebook in full and save it with its outputs, less the log on stderr, which names this machine."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    for cell in _code(notebook):
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.ran = _digest(notebook)
    nbformat.write(notebook, path)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _set_parameters(notebook: NotebookNode, values: dict[str, int]) -> None:
    cell = next(cell for cell in _code(notebook) if "parameters" in cell.metadata.get("tags", ()))
    names = [statement.targets[0].id for statement in ast.parse(cell.source).body]
    assert names == list(values), "SMALL sets every parameter"
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())


def _kinds(cell: NotebookNode) -> set[tuple[str, ...]]:
    """What a cell shows: the name of a stream, the formats of a picture or table."""
    return {(output.get("name", output.output_type), *sorted(output.get("data", ()))) for output in cell.outputs} - {
        ("stderr",)
    }


def _text(cell: NotebookNode) -> str:
    parts = [output.get("text", output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(parts))


def _digest(notebook: NotebookNode) -> str:
    return hashlib.sha256("\0".join(cell.source for cell in _code(notebook)).encode()).hexdigest()[:16]


if __name__ == "__main__":
    for found in NOTEBOOKS:
        save(found)
