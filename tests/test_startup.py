"""A command imports what it uses: help comes without the libraries that only training or drawing needs."""

import subprocess
import sys

import pytest

SELDOM = ("wandb", "tensorboard", "pandas", "optuna", "jinja2", "onnx", "onnxruntime", "torch_pruning")
TRAINING = ("albumentations", "segmentation_models_pytorch", "timm", "huggingface_hub")

SCORED_ONLY = """
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.sources.synthetic import SyntheticSource
data = SegmentationDataModule(SyntheticSource(6, 32), folds=3, fold=2, augment='em', workers=0)
data.setup('validate')
next(iter(data.val_dataloader()))
print('albumentations' in sys.modules)
data.setup('fit')
print('albumentations' in sys.modules)
from segmentation.callbacks.loggers import without_wandb
with without_wandb():
    from segmentation.model.networks.build import build_network
print('timm' in sys.modules, 'wandb' in sys.modules)
import wandb
"""


@pytest.mark.parametrize(
    ("command", "unused", "then", "printed"),
    [
        # images that are only scored are not augmented
        ("fit", (*SELDOM, *TRAINING), SCORED_ONLY, ["False", "True", "True False"]),
        # matplotlib, torchvision and scipy come with torchmetrics, so that fit cannot do without them
        (
            "predict",
            (*SELDOM, *TRAINING, "torch", "lightning", "matplotlib", "torchvision", "scipy", "skimage"),
            "",
            [],
        ),
    ],
    ids=["fit", "predict"],
)
def test_help_loads_no_library_that_it_does_not_need(
    command: str, unused: tuple[str, ...], then: str, printed: list[str]
) -> None:
    code = (
        "import sys; from segmentation.__main__ import main\n"
        f"try: main([{command!r}, '--help'])\n"
        "except SystemExit: pass\n"
        f"print('loaded', [name for name in {unused} if name in sys.modules])\n{then}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = done.stdout[done.stdout.index("\nloaded ") + 1 :].splitlines()
    assert "usage:" in done.stdout
    assert shown == ["loaded []", *printed]
