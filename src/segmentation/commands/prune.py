"""``prune``: a checkpoint with fewer channels, to be fine-tuned."""

from copy import deepcopy
from pathlib import Path

from segmentation.callbacks.checkpoints import AtomicCheckpointIO
from segmentation.callbacks.runs import config_beside
from segmentation.commands.networks import multiplications
from segmentation.commands.out import check_files
from segmentation.errors import InputError
from segmentation.model.checkpoint import checkpoint_of, read_checkpoint
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import load_module
from segmentation.typed import typed

try:
    from segmentation.deployment.pruning import MULTIPLE, prune_channels
except ModuleNotFoundError as error:
    raise InputError(f"prune needs torch-pruning ({error}): pip install -e '.[deploy]'") from error

KEPT = ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "segmentation")
"""Entries of a checkpoint that say what it is; the others belong to a training of all channels."""

SIZE = 512
"""H and W of the image whose multiply-accumulates are told."""


def prune(*, ckpt_path: Path, out: Path, share: float = 0.5, overwrite: bool = False) -> None:
    """Take channels out of a trained network and write a checkpoint that is smaller and faster.

    Every layer loses the same share of its channels, those with the smallest weights, so that half of them leave about a
    quarter of the work. What the network knows is mended by fine-tuning: fit --config CONFIG --initial_weights OUT. The
    checkpoint needs no torch-pruning, and validate, predict, export and load take it as any other; its decision is still
    that of the whole network. For networks of convolutions and batch normalisation.

    Args:
        ckpt_path: A checkpoint of fit, or a run folder (its best).
        out: File of the new checkpoint, FILE.ckpt.
        share: Of the channels of each layer that go; a layer keeps a multiple of 8, rounded up.
        overwrite: Replace a file that is there.

    Raises:
        InputError: For a network that cannot be pruned, a wrong share, or a file that is there.
    """
    path = checkpoint_of(ckpt_path)
    if out.suffix != ".ckpt":
        raise InputError(f"--out is {out}; give the name of a checkpoint, such as {out.with_suffix('.ckpt')}")
    check_files(out, overwrite=overwrite)
    checkpoint, module = read_checkpoint(path), load_module(path)
    before = _counts(module)
    widths = prune_channels(module.network, module.hparams["in_channels"], share)
    pruned = {name: checkpoint[name] for name in KEPT if name in checkpoint} | {"state_dict": module.state_dict()}
    stored = checkpoint["hyper_parameters"]
    pruned["hyper_parameters"] = stored | {"widths": (stored.get("widths") or {}) | widths}
    AtomicCheckpointIO().save_checkpoint(pruned, out)
    after, side = _counts(module), module.network.fixed or SIZE
    command = typed("fit", config=config_beside(path) or "CONFIG", initial_weights=out)
    print(
        f"Pruned: {len(widths)} layers keep {1 - share:.0%} of their channels, rounded up to {MULTIPLE}\n"
        f"  million parameters {before[0]:.2f} -> {after[0]:.2f}, "
        f"GMAC at {side}x{side} {before[1]:.2f} -> {after[1]:.2f}\n"
        f"Checkpoint: {out}; its scores are low until it is fine-tuned:\n"
        f"  {command}"
    )


def _counts(module: SegmentationModule) -> tuple[float, float]:
    """Millions of parameters, and thousand millions of multiply-accumulates for one image."""
    parameters = sum(parameter.numel() for parameter in module.network.parameters()) / 1e6
    network = deepcopy(module.network)  # counting empties it
    return parameters, multiplications(network, module.hparams["in_channels"], network.fixed or SIZE) / 1e9
