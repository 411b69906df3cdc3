"""fit, validate and test: LightningCLI with links from data to model, and a run folder."""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import torch
from jsonargparse import ArgumentError, Namespace
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segmentation.arguments import config_beside, typed_of_model, values, with_file
from segmentation.callbacks import messages, runs
from segmentation.callbacks.calibration import Calibration
from segmentation.callbacks.checkpoints import FOLDER, AtomicCheckpointIO, Checkpoints, check_accumulation
from segmentation.callbacks.compilation import CompiledTraining
from segmentation.callbacks.csv_log import RunCsv
from segmentation.callbacks.cudnn import CudnnBenchmark
from segmentation.callbacks.finite import StopOnNonFiniteLoss
from segmentation.callbacks.loggers import place_logger, quieten, without_wandb
from segmentation.callbacks.pictures import Pictures
from segmentation.callbacks.progress import LossBar, ValidationLine
from segmentation.callbacks.randomness import StepSeed
from segmentation.callbacks.tables import ScoreTable, WarnOneClass
from segmentation.data.configured import build
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.source import known_sources
from segmentation.errors import InputError
from segmentation.evaluation.scored import seen_samples
from segmentation.model.arguments import ARCHITECTURE, check_optimizer_kept, merge_hyperparameters
from segmentation.model.checkpoint import read_checkpoint, read_extras
from segmentation.model.device import accelerator_of, device_of
from segmentation.model.distillation import Distillation
from segmentation.model.initial_weights import initial_module, take_weights
from segmentation.model.module import SegmentationModule, limited
from segmentation.model.precision import chosen_precision
from segmentation.parse_errors import explained
from segmentation.typed import typed

_WHICH = "best or last: of the newest run of this --config with the same split"
_CHECKPOINT_HELP = {
    "fit": f"Resume the training of this checkpoint: a file, such as RUN/checkpoints/last.ckpt. {_WHICH}.",
    **dict.fromkeys(
        ("validate", "test"), f"The checkpoint to score: a file, a run, or a folder of runs (its newest). {_WHICH}."
    ),
}

known_sources()  # imported, a source is known to the command line by the name of its class


def run(args: list[str]) -> int:
    """Run ``fit``, ``validate`` or ``test``.

    Args:
        args: The command and its arguments.

    Returns:
        Exit status: 0, or 128 + the number of the signal that stopped it: 143 for SIGTERM, 130 for Ctrl-C.

    Raises:
        InputError: For anything that the user can mend.
    """
    # experiments stay on this machine unless the user says WANDB_MODE=online
    os.environ.setdefault("WANDB_MODE", "offline")
    try:
        return SegmentationCLI(with_file(args)).status
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish()  # else a second command in this process would go on in this one's run


class SegmentationCLI(LightningCLI):
    """One module class, one datamodule class; what differs from LightningCLI is in the overrides below.

    Attributes:
        status: The exit status.
    """

    def __init__(self, args: list[str]) -> None:
        quieten()
        self.status = 0
        self.command = args[0]
        self.beside = config_beside(args)
        args = args if self.beside is None else [args[0], "--config", str(self.beside), *args[1:]]
        self.configs = values(args, "--config", "-c")
        with ExitStack() as self.claims:
            super().__init__(
                SegmentationModule,
                SegmentationDataModule,
                save_config_callback=runs.RunFolder,
                seed_everything_default=0,
                # Lightning's own are 1000 epochs, a table of layers of which a user needs one line, two batches that say
                # no more than one, and all GPUs, with which the batches of a config would be several times as large
                trainer_defaults={
                    "max_epochs": 50,
                    "enable_model_summary": False,
                    "num_sanity_val_steps": 1,
                    "devices": 1,
                },
                args=args,
                parser_class=_Parser,
                parser_kwargs={"allow_abbrev": False},
                auto_configure_optimizers=False,
                # hyperparameters are plain values already
                load_from_checkpoint_support=False,
            )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override] # static there, and asked of self
        """The command that is run, and the arguments of the Trainer's method that are not the user's.

        Building the parser of a command takes long, so that the other two are left out.
        """
        evaluation = {"model", "datamodule", "dataloaders", "verbose", "weights_only"}
        skipped = {
            "fit": {"model", "datamodule", "train_dataloaders", "val_dataloaders", "weights_only"},
            "validate": evaluation,
            "test": evaluation,
        }
        return {self.command: skipped[self.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Checkpoints, teachers, and the links from data to model."""
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_lightning_class_args(Distillation, "distillation")
        parser.link_arguments("data.classes", "model.classes", apply_on="instantiate")
        parser.link_arguments("data.in_channels", "model.in_channels", apply_on="instantiate")
        parser.add_argument(
            "--allow_seen", action="store_true", help="Score samples that the checkpoint was trained on."
        )
        parser.add_argument(
            "--run_folder",
            type=str | None,
            help="fit: write the run here instead of runs/CONFIG/TIME; holds no run yet.",
        )
        parser.add_argument(
            "--compile",
            action="store_true",
            help="fit: train with torch.compile of the network; where that fails, without, after a warning.",
        )
        parser.add_argument(
            "--initial_weights",
            type=str | None,
            help="fit: start a new training from the weights of a checkpoint or run, with its architecture; a resumed "
            "run has its own.",
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Lightning's help of --ckpt_path is of what ``_parse_ckpt_path`` does not do."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser._option_string_actions["--ckpt_path"].help = _CHECKPOINT_HELP[subcommand]
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse twice: with defaults, and to know what the user gave himself."""
        self.config = parser.parse_args(args)
        config, given = self.config[self.command], parser.parse_args(args, defaults=False)[self.command]
        self.given: Namespace = given.get("model") or Namespace()  # type: ignore[no-untyped-call] # jsonargparse's
        if self.beside is not None and not values(args, "--model"):
            # the config of the run was not given, and may be older than the checkpoint
            for name in set(vars(self.given)) - typed_of_model(args):
                del self.given[name]
        with without_wandb():
            from segmentation.model.networks.build import usual_encoder  # loads slowly, and --help has ended above

        root = config.trainer.default_root_dir
        self.parent = Path(root or runs.ROOT) / runs.run_name(self.configs, config.data.source.class_path)
        for model in (config.model, self.given):
            if "encoder" in model:
                model.encoder = model.encoder or usual_encoder(config.model.network)

        self.initial: SegmentationModule | None = None
        if self.command == "fit" and config.initial_weights and not config.ckpt_path:
            self.initial = initial_module(config.initial_weights)
            stored = {name: self.initial.hparams.get(name) for name in ARCHITECTURE}
            merge_hyperparameters(config.model, self.given, stored, config.initial_weights)

    def instantiate_classes(self) -> None:
        """Data, model and Trainer; the model has its initial weights."""
        super().instantiate_classes()
        if self.initial is not None:
            take_weights(self.model, self.initial)

    def _parse_ckpt_path(self) -> None:
        """Turn best and last into a file; the architecture is the checkpoint's, what else the user gave wins.

        LightningCLI's own lets the checkpoint override the command line silently.
        """
        config = self.config[self.command]
        self.checkpoint: dict[str, Any] | None = None
        if self.command != "fit" and config.run_folder is not None:
            raise InputError(
                f"--run_folder is for fit; {self.command} writes into the run of its checkpoint, leave it out"
            )
        if not config.ckpt_path:
            if self.command != "fit":
                raise InputError(f"{self.command} needs --ckpt_path: a run, a file of fit, best or last")
            return
        if config.ckpt_path in ("best", "last"):
            data = build(config.data)
            data.prepare_data()
            found = runs.find_checkpoints(config.ckpt_path, self.parent, data.split)
            rank_zero_info(runs.told(found, config.checkpoint.monitor))
            config.ckpt_path = str(found[0])
        self.checkpoint = read_checkpoint(config.ckpt_path)
        if self.command == "fit" and "optimizer_states" not in self.checkpoint:
            raise InputError(
                f"{config.ckpt_path} holds weights and no training that could go on; start from it with --initial_weights"
            )
        if self.command == "fit":
            check_optimizer_kept(self.given, self.checkpoint["hyper_parameters"], config.ckpt_path)
        merge_hyperparameters(config.model, self.given, self.checkpoint["hyper_parameters"], config.ckpt_path)

    def before_instantiate_classes(self) -> None:
        """Choose the run folder and what else the user left open."""
        config = self.config[self.command]
        if config.data.seed is None:
            config.data.seed = config.seed_everything
        run = None if self.checkpoint is None else runs.run_of(Path(config.ckpt_path))
        if self.command == "fit":
            resumed = run if run is not None and (run / runs.CONFIG).is_file() else None
            named = runs.folder_of_fit(config.run_folder, resumed)
            self.cure = runs.FIT_ELSEWHERE if resumed is None else runs.RUN_ELSEWHERE
            self.folder = named or self.claims.enter_context(runs.claimed_folder(self.parent))
            text = runs.config_text(self._parser("fit"), config)
            self.save_config_kwargs = {"folder": self.folder, "resumed": resumed is not None, "text": text}
        else:
            assert run is not None
            # without a test set report scores the validation samples, as test does
            scored = "val" if self.command == "validate" else None
            elsewhere = typed("report", ckpt_path=config.ckpt_path, split=scored, out="FOLDER")
            self.cure = f"{runs.RUN_ELSEWHERE}, or write elsewhere: {elsewhere}"
            self.folder = self.claims.enter_context(runs.claimed_folder(run, f"{self.command}-", self.cure))
            self.save_config_callback = None
        for logger in _as_list(config.trainer.logger):
            if isinstance(logger, Namespace):
                place_logger(logger, self.folder if self.command == "fit" else run or self.folder)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The Trainer with what watches a run."""
        trainer = self._get(self.config_init, "trainer")
        fits = self.command == "fit"
        run = self.folder if fits else self.folder.parent
        self._get(self.config_init, "checkpoint").dirpath = str((run / FOLDER).absolute())
        self.table = ScoreTable(self.folder)
        callbacks: list[Callback] = [
            Pictures(self.folder / "pictures" if fits else self.folder),
            *([Calibration(self.table)] if fits else []),  # before the table, which shows the scores at its decision
            self.table,
        ]
        if fits:
            callbacks += [CompiledTraining()] if self._get(self.config_init, "compile") else []
            callbacks += [StepSeed(self.datamodule.seed), StopOnNonFiniteLoss(), WarnOneClass(), LearningRateMonitor()]
            callbacks.append(ValidationLine())
            if self.datamodule.crop is not None and trainer.benchmark is None and not trainer.deterministic:
                callbacks.append(CudnnBenchmark())
        given = _as_list(trainer.callbacks)
        if trainer.enable_progress_bar is not False and not any(isinstance(one, ProgressBar) for one in given):
            callbacks.append(LossBar())
        loggers = [logger for logger in _as_list(trainer.logger) if isinstance(logger, Logger)]
        kwargs |= {
            "callbacks": [*given, *callbacks],
            "logger": [RunCsv(self.folder), *loggers] if fits else loggers,
            "plugins": [*_as_list(trainer.plugins), AtomicCheckpointIO()],
            "precision": self._precision(trainer),
            "accelerator": accelerator_of(trainer),
            "use_distributed_sampler": False,  # the samplers deal draws and images to processes themselves
            # SLURM's requeuing writes a checkpoint there, from which every later fit in that folder would go on
            "default_root_dir": str(self.folder),
        }
        for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):  # Lightning divides by them
            if trainer[name] is not None and trainer[name] < 1:
                raise InputError(f"trainer.{name} is {trainer[name]}; give 1 or more")
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, RuntimeError, ValueError, TypeError) as error:
            raise InputError(f"the arguments of trainer: {str(error).splitlines()[0]}") from error

    def before_fit(self) -> None:
        """Check the data before the run folder is made, so that wrong data leave nothing behind."""
        self._prepare("fit")
        rank_zero_info(f"{messages.network(self.model)}\nRun folder: {self.folder}")
        # at least once an epoch: a small data set has few batches
        every = min(vars(self.trainer)["log_every_n_steps"], self.datamodule.batches_per_epoch())
        vars(self.trainer)["log_every_n_steps"] = max(1, every)

    def before_validate(self) -> None:
        """As before ``fit``."""
        self._prepare("validate")

    def before_test(self) -> None:
        """As before ``fit``."""
        self._prepare("test")

    def after_fit(self) -> None:
        """Say where the best checkpoint is, and what can be done with it."""
        if self.checkpoint is not None and self.trainer.global_step == self.checkpoint["global_step"]:
            rank_zero_info(messages.nothing_left(self.trainer))
        checkpoints = self._get(self.config_init, "checkpoint")
        told = messages.finished(self.folder, checkpoints, self.datamodule.source.numbers_objects)
        if told:
            rank_zero_info(told)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except SIGTERMException:
            # of another process Lightning would take it for an error, and kill the first one
            number = self._get(self.config_init, "checkpoint").stopped_by if self.command == "fit" else signal.SIGTERM
            self.status = 128 + number if self.trainer.is_global_zero else 0
            rank_zero_info(messages.stopped(self.command, self.folder))
        except MisconfigurationException as error:
            raise InputError(str(error).splitlines()[0]) from error
        except BaseException as error:
            self._end_other_processes()
            cure = messages.cure_of(error, subcommand)
            if cure is None:
                raise
            raise InputError(f"{cure} ({str(error).splitlines()[0]})") from error

    def _end_other_processes(self) -> None:
        """Those of this training on this machine would wait for this one on their GPUs."""
        children = getattr(self.trainer.strategy.launcher, "procs", [])
        for child in children:
            child.kill()
            child.wait()
        children.clear()  # else Lightning kills this process, before it has said why

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        quiet = {} if subcommand == "fit" else {"verbose": False}  # ScoreTable shows the scores
        arguments: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        return arguments | quiet | {"weights_only": True}

    def _prepare(self, stage: str) -> None:
        """Check everything that can be wrong before the first file is written."""
        if getattr(rank_zero_only, "rank", 0) == 0:  # Lightning's own knowledge of the process's rank
            self.datamodule.prepare_data()
            self.datamodule.setup(stage)
            if stage == "fit":
                self.datamodule.trainer = self.trainer  # as fit does; the batches are then those of one process
                self._check_interval()
                self._get(self.config_init, "distillation").load(self.model, self.datamodule)
            self.table.notes = self._notes(stage)
            runs.make_folder(self.folder, self.cure)

    def _check_interval(self) -> None:
        # Lightning leaves out the interval where it is a time
        batches, interval = self.datamodule.batches_per_epoch(), vars(self.trainer).get("val_check_interval")
        over_epochs, accumulated = self.trainer.check_val_every_n_epoch is None, self.trainer.accumulate_grad_batches
        if isinstance(interval, int) and interval > batches and not over_epochs:
            raise InputError(
                f"trainer.val_check_interval is {interval}, and an epoch has {batches} batches; give at most so many, "
                "a share such as 0.5, or trainer.check_val_every_n_epoch: null to count over epochs"
            )
        batches = limited(batches, self.trainer.limit_train_batches)
        check_accumulation(interval, accumulated, batches, over_epochs)

    def _notes(self, stage: str) -> dict[str, float]:
        """What the scores of this command must be labelled with; refuses samples that were trained on."""
        notes: dict[str, float] = {}
        evaluated = self.datamodule.evaluated(stage)
        trained = self.model.trained_on  # by teachers and initial weights
        if self.checkpoint is not None:
            trained = trained | read_extras(self.checkpoint)["trained_on"]
        seen = seen_samples(evaluated, trained, self._get(self.config_init, "allow_seen"))
        if seen:
            rank_zero_info(
                f"{len(seen)} of {len(evaluated)} samples to be scored were trained on: {', '.join(seen[:5])}. "
                "The scores say nothing about new images."
            )
            notes["seen_samples"] = len(seen)
        if stage == "test" and self.datamodule.tests_on_validation:
            rank_zero_info(
                "There is no test set, so the validation samples are scored. The checkpoint was selected on these data; "
                "data.test_fraction sets samples apart for the test when a model is trained."
            )
            notes["selected_on_these_data"] = 1
        return notes

    def _precision(self, trainer: Any) -> Any:
        device = device_of(str(trainer.accelerator))
        trained = None
        if self.command != "fit" and self.checkpoint is not None:
            trained = read_extras(self.checkpoint)["precision"] or "32-true"
        precision = chosen_precision(trainer.precision, device, trained)
        if trainer.precision is None:
            if device == "cuda":
                torch.set_float32_matmul_precision("high")
            layout = "channels_last" if self.model.hparams["channels_last"] else "contiguous"
            rank_zero_info(f"Device {device}, precision {precision}, memory format {layout}")
        return precision


class _Parser(LightningArgumentParser):
    """Says what is wrong in one line instead of a hundred lines of usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        parser = getattr(ex, "subcommand_parser", self)
        options = list(parser._option_string_actions)
        if not hasattr(self, "args"):  # that of a class, such as the source, within that of the command
            names = [option.removeprefix("--") for option in options]
            raise ArgumentError(None, explained(message, names)) from ex
        command = getattr(parser, "subcommand", None) or self.args[0]
        told = explained(message, options)
        raise InputError(f"{told} (python -m segmentation {command} --help lists the arguments)") from ex


def _as_list(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
