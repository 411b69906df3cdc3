"""What a ``fit`` would train, built but not run, for commands that look for one of its arguments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning import Trainer

from segmentation.cli import SegmentationCLI
from segmentation.commands.out import check_files
from segmentation.errors import InputError
from segmentation.model.device import accelerator_of
from segmentation.typed import typed

KEPT = (
    *("accelerator", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("deterministic", "benchmark"),
)
"""Arguments of the Trainer that a step depends on; the user's are used."""


class BuiltFit(SegmentationCLI):
    """The module and the data of a ``fit``, and a Trainer that validates and logs nothing; one device.

    Args:
        args: As on the command line, without the command.
        scratch: Folder of the Trainer, for its temporary checkpoints.
        trainer: Further arguments of the Trainer.

    Attributes:
        model: Of fresh weights, by the seed; its teachers teach.
        datamodule: Set up.
        trainer: To be handed to Lightning's Tuner.

    Raises:
        InputError: For an argument that is unknown or wrong, or that has no meaning here.
    """

    def __init__(self, args: Sequence[str], scratch: Path, **trainer: Any) -> None:
        self.options = {
            "default_root_dir": scratch,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "devices": 1,
            "use_distributed_sampler": False,
            **trainer,
        }
        super().__init__(["fit", *args])
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        teaching = self._get(self.config_init, "distillation")
        teaching.load(self.model, self.datamodule)
        teaching.on_fit_start(self.trainer, self.model)  # the Tuner searches before callbacks begin

    def _parse_ckpt_path(self) -> None:
        arguments = self.config.fit
        for name in ("ckpt_path", "run_folder"):
            if arguments[name] is not None:
                raise InputError(
                    f"--{name} is {arguments[name]}, but no run is made or gone on with here; leave it out"
                )
        self.checkpoint = None

    def before_instantiate_classes(self) -> None:
        """The seed of the data, as ``fit`` has it; none of the user's loggers and callbacks, and no average of the weights."""
        arguments = self.config.fit
        if arguments.data.seed is None:
            arguments.data.seed = arguments.seed_everything
        arguments.trainer.logger, arguments.trainer.callbacks = False, None
        arguments.model.ema = None

    def instantiate_trainer(self, **_: Any) -> Trainer:
        """The Trainer."""
        chosen = self._get(self.config_init, "trainer")
        kept = {name: chosen[name] for name in KEPT}
        kept["accelerator"] = accelerator_of(chosen)
        return Trainer(**kept, precision=self._precision(chosen), **self.options)

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""


def check_new(out: Path, overwrite: bool) -> None:
    """Raise InputError when the file cannot be written, is there already and must stay, or is to be no YAML file."""
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out is {out}; give the name of a YAML file, such as {out.with_suffix('.yaml')}")
    check_files(out, out.with_suffix(".png"), overwrite=overwrite)


def write_overlay(out: Path, content: dict[str, dict[str, float]], command: str, fit: Sequence[str]) -> None:
    """Write a config that goes on top of another one, and say how it is used.

    Args:
        out: The file; its folder is made.
        content: Arguments of ``fit`` by section.
        command: What found them.
        fit: The arguments of ``fit`` that it was given.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    head = f"# found by: {typed(command, *fit)}\n"
    out.write_text(head + yaml.safe_dump(content), encoding="utf-8")
    print(f"Config: {out}\n  {typed('fit', *fit, config=out)}")
