"""Single weights to zero: Lightning's callback, by the config in the documentation alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from segmentation.model.predictor import load_module

DOCS = Path(__file__).parents[1] / "docs" / "deployment.md"


def zeros(path: Path) -> float:
    """Share of the weights of the network that are 0."""
    weights = [value for name, value in load_module(path).network.named_parameters() if name.endswith("weight")]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def test_lightnings_callback_prunes_single_weights(
    tiny_fit: Callable[..., Path], run: Callable[..., int], trained: Path
) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    Path("pruning.yaml").write_text(next(block for block in blocks if "ModelPruning" in block))
    folder = tiny_fit("--config", "pruning.yaml", "--trainer.max_epochs", 3)
    last = folder / "checkpoints/last.ckpt"
    # a fifth of what is left after each epoch; the last validation came before the third time
    assert abs(zeros(last) - (1 - 0.8**2)) < 0.01
    assert zeros(trained / "checkpoints/best.ckpt") < 0.01
    names = torch.load(last, weights_only=True)["state_dict"].keys()
    assert names == torch.load(trained / "checkpoints/best.ckpt", weights_only=True)["state_dict"].keys()
    assert run("validate", "--ckpt_path", folder / "checkpoints/best.ckpt") == 0
    fitted, validated = (
        json.loads((place / "scores.json").read_text()) for place in (folder, next(folder.glob("validate-*")))
    )
    assert fitted["iou"] == validated["iou"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["callbacks"][0]["init_args"]["amount"] == 0.2
