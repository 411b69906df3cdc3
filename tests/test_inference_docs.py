"""What docs/inference.md tells a user to type is typed here, on little data."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from segmentation.__main__ import main
from segmentation.inference.intensity import Intensity
from segmentation.model.module import SegmentationModule

TEXT = (Path(__file__).parents[1] / "docs" / "inference.md").read_text()
RUN = Path("runs/my_check/20261121-101500")


@pytest.fixture
def _checkpoint() -> None:
    torch.manual_seed(0)
    module = SegmentationModule({"names": ["background", "cell"]}, 1, encoder="tu-test_resnet.r160_in1k")
    module.intensity = Intensity("uint8")
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    for run in (RUN, RUN.with_name(f"{RUN.name}1"), RUN.with_name(f"{RUN.name}2")):  # TIME, TIME1 and TIME2
        (run / "checkpoints").mkdir(parents=True)
        torch.save(checkpoint, run / "checkpoints/best.ckpt")


@pytest.mark.usefixtures("_checkpoint")
def test_the_commands_run() -> None:
    Path("new_images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    Image.fromarray(pixels).save("new_images/a.png")
    tifffile.imwrite("slide.tif", np.tile(pixels, (14, 12)), photometric="minisblack", tile=(64, 64))
    tifffile.imwrite("stack.tif", np.stack([pixels] * 3), photometric="minisblack")
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 10
    for line in lines:
        words = shlex.split(line.replace("TIME", RUN.name))
        assert words[:3] == ["python", "-m", "segmentation"]
        assert main(words[3:]) == 0, line
    assert np.array(Image.open("ensemble/labels/a.png")).shape == (40, 50)
    assert np.array(Image.open("slides/labels/slide.png")).shape == (560, 600)
    assert tifffile.imread("submission/foreground/stack.tif").shape == (3, 40, 50)


@pytest.mark.usefixtures("_checkpoint")
def test_the_python_lines_run() -> None:
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    found: dict[str, np.ndarray] = {"image": np.zeros((40, 50), np.uint8)}
    exec(code[1].replace("TIME", RUN.name), found)
    assert found["labels"].shape == (40, 50)
    assert found["probabilities"].shape == (1, 2, 40, 50)
