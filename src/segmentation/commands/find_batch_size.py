"""``find_batch_size``: the largest batch that a device can train with."""

from pathlib import Path
from tempfile import TemporaryDirectory

from lightning.pytorch.tuner.tuning import Tuner

from segmentation.commands.built_fit import BuiltFit, check_new, write_overlay
from segmentation.errors import InputError

TRIED = 3
"""Training steps at each size: the first allocates less than those after it."""


def find_batch_size(*fit: str, out: Path, max: int = 256, overwrite: bool = False) -> None:
    """Find the largest batch size that fits into the memory of a GPU: 2, 4, 8, ... until it is full.

    All arguments of fit can be given besides those below, such as --config configs/isbi.yaml. Nothing of the training
    is kept. The result is a config that fit takes on top of the others, --config CONFIG --config OUT. A CPU gives no
    sign that its memory is full, so there --max alone ends the search: give the largest batch you would wait for.

    Args:
        fit: Arguments of fit.
        out: YAML file for the result.
        max: The largest size that is tried, at least 4.
        overwrite: Replace a file that is there.

    Raises:
        InputError: For wrong arguments, before anything is trained; afterwards when not even one crop fits.
    """
    if max < 4:  # so that the size below the first one is tried too, should that one not fit
        raise InputError(f"--max is {max}; give 4 or more")
    check_new(out, overwrite)
    with TemporaryDirectory() as scratch:
        built = BuiltFit(fit, Path(scratch), max_epochs=1, check_val_every_n_epoch=2)
        data = built.datamodule
        # one epoch holds the steps at every size, wherever in it the Tuner's loaders begin
        data.samples_per_epoch = 4 * TRIED * max * built.trainer.accumulate_grad_batches
        try:
            size = Tuner(built.trainer).scale_batch_size(
                built.model,
                datamodule=data,
                steps_per_trial=TRIED,
                init_val=2,
                # sizes double: Lightning's own max_val ends the search before the last one is tried
                max_trials=max.bit_length() - 1,
                max_val=2 * max,
            )
        except ValueError:
            if data.batch_size:
                raise
            raise InputError("not even one crop fits into memory; set a smaller data.crop or model.encoder") from None
    assert size is not None  # it is with fast_dev_run alone
    why = "twice as many do not fit" if 2 * size <= max else "the largest that --max allows"
    print(f"Batch size: {size} ({why})")
    write_overlay(out, {"data": {"batch_size": size}}, "find_batch_size", fit)
