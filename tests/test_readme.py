"""What the README tells a user to type is typed here, on little data."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
Run = Callable[..., int]


def commands(section: str) -> list[list[str]]:
    """The segmentation commands of the first shell block below a heading."""
    block = README.split(f"## {section}")[1].split("```bash\n")[1].split("```")[0]
    return [shlex.split(line)[3:] for line in block.splitlines() if line.startswith("python -m segmentation")]


def type_all(lines: list[list[str]], run: Run, quick: tuple[object, ...]) -> None:
    assert [line[0] for line in lines] in (["fit", "test", "predict"], ["check", "fit", "test", "predict"])
    for line in lines:
        assert run(*line, *(quick if line[0] == "fit" else ())) == 0, line


def test_your_own_images_in_four_commands(run: Run, folder_data: Path, quick) -> None:
    folder_data.rename("my_data")
    Path("new_images").mkdir()
    Image.fromarray(np.zeros((31, 40, 3), np.uint8)).save("new_images/one.png")
    small = (*quick, "--data.samples_per_epoch", "4")
    type_all(commands("Your own images in four commands"), run, small)
    assert np.array(Image.open("predictions/labels/one.png")).shape == (31, 40)


def test_isbi_in_three_commands(run: Run, shared_data: Path, quick) -> None:
    for name in ("data", "configs"):
        Path(name).symlink_to(shared_data if name == "data" else ROOT / name)
    small = [*quick, "--data.folds", "5", "--data.fold", "4", "--data.samples_per_epoch", "4"]
    # a network that has learned nothing draws boundaries everywhere, and closing their gaps takes a second a slice
    small += ["--trainer.check_val_every_n_epoch", "1", "--model.agglomeration", "null"]
    small += ["--model.network_options", "{width: 4}"]
    type_all(commands("ISBI 2012 membranes in three commands"), run, tuple(small))
    import tifffile

    assert tifffile.imread("predictions/labels/test-volume.tif").shape == (30, 512, 512)


def test_the_config_in_the_readme_is_read(run: Run, folder_data: Path, quick) -> None:
    folder_data.rename("my_data")
    for path in Path("my_data/masks").iterdir():
        Image.fromarray(np.array(Image.open(path)) * 255).save(path)
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "my_config.yaml" in block)
    Path("my_config.yaml").write_text(text.replace("imagenet", "null"))  # nothing is downloaded in a test
    assert run("fit", "--config", "my_config.yaml", *quick, "--data.samples_per_epoch", 4) == 0


def test_every_file_and_target_named_exists() -> None:
    for path in re.findall(r"\((docs/[^)#]+|notebooks/[^)#]+)\)", README):
        assert (ROOT / path).is_file(), path
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z]+) ", README)) - {"and"} <= set(targets)
    tree = (ROOT / "CONTRIBUTING.md").read_text().split("## The tree")[1].split("```")[1]
    named = set(re.findall(r"([a-z_]+\.py)", tree))
    files = {path.name for path in (ROOT / "src").rglob("*.py") if path.name != "__init__.py"}
    shown_by_folder = {
        path.name
        for part in ("sources", "checking", "commands", "metrics", "callbacks", "evaluation")
        for path in (ROOT / "src").rglob(f"{part}/**/*.py")
    }
    assert files - shown_by_folder <= named <= files


def test_every_message_in_the_troubleshooting_table_exists() -> None:
    table = README.split("## When something goes wrong")[1].split("\n## ")[0]
    quoted = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(quoted) >= 7
    # joined as Python joins them: messages are wrapped over lines
    source = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text() for path in (ROOT / "src").rglob("*.py")))
    for message in quoted:
        for part in re.split(r" ?\.\.\. ?| ?'[^']*' ?| ?\[.*?\] ?", message):
            assert part in source, message
