"""A training that starts from the weights of another one."""

from pathlib import Path

from segmentation.errors import InputError
from segmentation.model.checkpoint import checkpoint_of
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import load_module


def initial_module(path: str | Path) -> SegmentationModule:
    """The trained module that a training starts from.

    Args:
        path: A checkpoint, a run folder or a folder of runs, as for ``checkpoint_of``.

    Raises:
        InputError: When there is none, or several.
    """
    return load_module(checkpoint_of(path))


def take_weights(module: SegmentationModule, initial: SegmentationModule) -> None:
    """Start from the weights of the network, and count what they were trained on as trained on.

    Normalisation, threshold and everything else are those of the new training.

    Raises:
        InputError: When the classes or the channels differ.
    """
    check_same_task(module, initial, "the checkpoint of --initial_weights")
    module.network.load_state_dict(initial.network.state_dict())
    module.trained_on = initial.trained_on | module.trained_on


def check_same_task(module: SegmentationModule, other: SegmentationModule, told: str) -> None:
    """Raise InputError when the other module, which is called ``told``, has other classes or channels."""
    names, others = list(module.classes.names), list(other.classes.names)
    channels, others_channels = module.hparams["in_channels"], other.hparams["in_channels"]
    if (names, channels) != (others, others_channels):
        raise InputError(
            f"{told} was trained on the classes {others} in {others_channels} channels, the data have {names} in "
            f"{channels}; give a checkpoint of the same classes and channels"
        )
