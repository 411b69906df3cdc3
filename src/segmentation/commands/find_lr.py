"""``find_lr``: a learning rate, from the loss while the rate rises."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from lightning.pytorch.tuner.tuning import Tuner
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from segmentation.commands.built_fit import BuiltFit, check_new, write_overlay
from segmentation.errors import InputError

MOMENTUM = 0.98
"""Of Lightning's running mean of the losses."""

Numbers = NDArray[np.float64]


def find_lr(
    *fit: str,
    out: Path,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    overwrite: bool = False,
) -> None:
    """Find a learning rate: train while it rises from step to step, and take the one at which the loss fell fastest.

    All arguments of fit can be given besides those below, such as --config configs/isbi.yaml. Nothing of the training
    is kept. The result is a config that fit takes on top of the others, --config CONFIG --config OUT, and a plot beside
    it (Smith 2017, doi 10.1109/WACV.2017.58). Warm-up, schedule, layer_decay and freeze_encoder are left aside.

    Args:
        fit: Arguments of fit.
        out: YAML file for the result; the plot is the PNG file of the same name.
        steps: Training steps, each at a rate of its own.
        lowest: The first rate.
        highest: The last rate; the search ends earlier when the loss has risen to four times its least.
        overwrite: Replace files that are there.

    Raises:
        InputError: For wrong arguments, before anything is trained; afterwards when no rate lowered the loss.
    """
    if not 0 < lowest < highest:
        raise InputError(f"--lowest is {lowest} and --highest {highest}; give rates above 0, the lower one first")
    if steps < 20:
        raise InputError(f"--steps is {steps}; give 20 or more")
    check_new(out, overwrite)
    with TemporaryDirectory() as scratch:
        # an epoch has one step or more, and none is validated
        built = BuiltFit(fit, Path(scratch), max_epochs=steps, check_val_every_n_epoch=steps + 1)
        finder = Tuner(built.trainer).lr_find(
            built.model,
            datamodule=built.datamodule,
            min_lr=lowest,
            max_lr=highest,
            num_training=steps,
            update_attr=False,
        )
    assert finder is not None
    losses = of_each_step(finder.results["loss"])
    rates = np.array(finder.results["lr"], np.float64)[: len(losses)]
    best = steepest(rates, losses)
    if best is None:
        raise InputError(
            f"the loss did not fall at any rate from {lowest:g} to {highest:g}; try another range (--lowest, --highest), "
            "more --steps, and look at data and masks with check"
        )
    rate, before = float(f"{rates[best]:.2g}"), built.model.hparams["lr"]
    print(f"Learning rate: {rate:g} (model.lr is {before:g}); plot: {out.with_suffix('.png')}")
    write_overlay(out, {"model": {"lr": rate}}, "find_lr", fit)
    plot(rates, losses, best, before).savefig(out.with_suffix(".png"))


def steepest(rates: Numbers, losses: Numbers) -> int | None:
    """The step at which the smoothed loss falls fastest over the logarithm of the rate, before its least.

    Lightning's own choice takes the slope over the rate itself, which is steepest where the rates lie closest: at the
    lowest of them.

    Args:
        rates: Ascending.
        losses: Of each step, as long as they were finite.

    Returns:
        None where the loss falls by no more than it differs from batch to batch.
    """
    if len(losses) < 2:
        return None
    smooth = smoothed(losses)
    end = int(smooth.argmin()) + 1
    if end < 2 or smooth[0] - smooth[end - 1] <= 2 * np.std(losses[:end] - smooth[:end]):
        return None
    return int(np.gradient(smooth[:end], np.log(rates[:end])).argmin())


def smoothed(losses: Numbers) -> Numbers:
    """By a Gaussian over a fortieth of the steps, which lags behind neither way."""
    result: Numbers = gaussian_filter1d(losses, max(1.0, len(losses) / 40), mode="nearest")
    return result


def of_each_step(momentum: Sequence[float]) -> Numbers:
    """The losses of the steps, as long as they were finite, from Lightning's running mean of them.

    That lags by half of a usual search, and its first values are too small: it divides by ``1 - b ** (t + 1)`` in step
    t from 1, where ``1 - b ** t`` would be the mean.
    """
    sums = np.array(momentum, np.float64) * (1 - MOMENTUM ** np.arange(2, len(momentum) + 2))
    losses: Numbers = (sums - MOMENTUM * np.concatenate([[0.0], sums[:-1]])) / (1 - MOMENTUM)
    finite = np.isfinite(losses)
    return losses if finite.all() else losses[: int(finite.argmin())]


def plot(rates: Numbers, losses: Numbers, best: int, before: float) -> Figure:
    """The loss over the rate, with the rate that was found and the one in the config."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    smooth = smoothed(losses)
    axes.plot(rates, losses, color="tab:blue", alpha=0.3, label="each step")
    axes.plot(rates, smooth, color="tab:blue", label="smoothed")
    axes.plot(rates[best], smooth[best], "o", color="tab:red", label=f"found: {rates[best]:.2g}")
    axes.axvline(before, color="gray", linestyle="--", label=f"in the config: {before:g}")
    height = smooth[0] - smooth.min()
    # the last losses may be many times the first
    top = min(losses.max(), smooth[0] + height) + 0.05 * height
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(None, top))
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    return figure
