"""Run folders: ``runs/<config name>/<time>/``. Only ``fit`` makes one; nothing in one is overwritten."""

import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from segmentation.callbacks.checkpoints import FOLDER
from segmentation.data.replacing import write_whole
from segmentation.data.splits import NAMES, write_split
from segmentation.errors import InputError
from segmentation.metrics.direction import lower_is_better

ROOT = "runs"
CONFIG = "config.yaml"
SPLIT = "split.json"
SCORES = "scores.json"
_HANDED_ON = "SEGMENTATION_RUN_FOLDER"

FIT_ELSEWHERE = "set trainer.default_root_dir or run_folder to a folder that can"
RUN_ELSEWHERE = "copy the run to a folder that can"
OUT_ELSEWHERE = "give another folder as --out"
"""What a user does about a folder that cannot be written."""


def folder_of_fit(named: str | None, resumed: Path | None) -> Path | None:
    """Where a ``fit`` writes: into the run that it goes on with, or the folder that the user named; else None.

    Args:
        named: ``--run_folder``.
        resumed: The run of the checkpoint to go on from.

    Raises:
        InputError: When the named folder is or holds a run, or another one than that of the checkpoint is named.
    """
    if resumed is not None:
        if named is not None and Path(named).resolve() != resumed.resolve():
            raise InputError(
                f"--run_folder is {named}, but a resumed run goes on in its own folder, {resumed}; leave --run_folder out"
            )
        return resumed
    if named is None:
        return None
    folder = Path(named)
    inner = next(folder.glob(f"*/{FOLDER}"), None)
    if inner is not None and _is_first_process():  # --ckpt_path of this folder would no longer be the newest of them
        raise InputError(
            f"--run_folder {folder} is the folder of other runs, such as {inner.parent}; give another folder"
        )
    held = [name for name in (CONFIG, FOLDER) if (folder / name).exists()]
    if held and _is_first_process():
        last = folder / FOLDER / "last.ckpt"
        going_on = f", or go on with this run: --ckpt_path {shlex.quote(str(last))}" if last.is_file() else ""
        raise InputError(f"--run_folder {folder} holds a run already ({held[0]}); give another folder{going_on}")
    return folder


def new_folder(parent: Path, prefix: str = "") -> Path:
    """A folder name that does not exist yet, from the time."""
    return next(parent / name for name in _names(prefix) if not (parent / name).exists())


@contextmanager
def claimed_folder(parent: Path, prefix: str = "", cure: str = FIT_ELSEWHERE) -> Iterator[Path]:
    """A new folder named by the time, made at once, so that no other command can have it.

    It is removed at the end when nothing was written into it. The processes that Lightning starts for further devices get
    the first process's choice.

    Args:
        parent: Made too where it is not there.
        prefix: Before the time.
        cure: What the user does when it cannot be made.

    Raises:
        InputError: When it cannot be made; the message ends in the cure.
    """
    if not _is_first_process():
        yield Path(os.environ[_HANDED_ON]) if _HANDED_ON in os.environ else new_folder(parent, prefix)
        return
    folder = next(parent / name for name in _names(prefix) if _made(parent / name, cure))
    os.environ[_HANDED_ON] = str(folder)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it is not empty
            folder.rmdir()
            parent.rmdir()
            Path(ROOT).rmdir()


def out_folder(out: Path | None, parent: Path, prefix: str) -> AbstractContextManager[Path]:
    """The folder that the user named as ``--out``, as it is; a claimed one where he named none."""
    return claimed_folder(parent, prefix, OUT_ELSEWHERE) if out is None else nullcontext(out)


def _names(prefix: str) -> Iterator[str]:
    """By the time, then with a number behind it."""
    stem = prefix + datetime.now().strftime("%Y%m%d-%H%M%S")
    yield stem
    yield from (f"{stem}-{number}" for number in count(2))


def _made(folder: Path, cure: str) -> bool:
    """Whether a folder is new."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise _unwritable(folder, error, cure) from error
    return True


def run_name(configs: list[str], source: str) -> str:
    """What a run is called: its first config's stem, or folder for a config.yaml; the data set's class without one."""
    if not configs:
        return source.rsplit(".", 1)[-1]
    path = Path(configs[0])
    if path.stem.startswith("config") and (path.parent / FOLDER).is_dir():  # the saved config of a run
        return path.absolute().parent.parent.name
    # check writes my_data/config.yaml
    return path.absolute().parent.name if path.name == CONFIG else path.stem


def run_of(ckpt_path: Path) -> Path:
    """The run folder of a checkpoint; its own folder when it lies in no run."""
    return ckpt_path.parent.parent if ckpt_path.parent.name == FOLDER else ckpt_path.parent


def config_beside(ckpt_path: Path) -> Path | None:
    """The config with which the run that wrote a checkpoint went on last, if it is there."""
    return newest_config(run_of(ckpt_path))


def newest_config(run: Path) -> Path | None:
    """The last of config.yaml, config-resume1.yaml, ... of a run; None without the first."""
    return next(reversed(list(takewhile(Path.is_file, _configs(run)))), None)


def _configs(run: Path) -> Iterator[Path]:
    yield run / CONFIG
    yield from (run / f"config-resume{number}.yaml" for number in count(1))


def find_checkpoints(which: str, parent: Path, split: dict[str, list[str]]) -> list[Path]:
    """The ``best`` or ``last`` checkpoints of the runs with this split, newest first.

    A run in a folder that the user named is found only where that folder lies directly in ``parent``.

    Args:
        which: ``best`` or ``last``.
        parent: ``runs/<config name>``.
        split: Of the current data; a run of another split trained on other samples.

    Raises:
        InputError: Naming the runs that were considered.
    """
    candidates = sorted(parent.glob(f"*/{FOLDER}/{which}.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
    fitting = [path for path in candidates if stored_split(run_of(path)) == split]
    if fitting:
        return fitting
    if not candidates:
        raise InputError(f"--ckpt_path {which}: no {parent}/*/{FOLDER}/{which}.ckpt; run fit first or give a file")
    shown = "\n  ".join(map(str, candidates[:10]))
    raise InputError(
        f"--ckpt_path {which}: the split of these data (data.fold, data.split_file, files) is that of no run in "
        f"{parent}; give one of these files, or fit anew:\n  {shown}"
    )


def told(checkpoints: list[Path], monitor: str) -> str:
    """Which of the checkpoints is used, the first, and whether another run has a better score.

    Args:
        checkpoints: As from ``find_checkpoints``.
        monitor: The score, such as ``val/iou``.
    """
    name = monitor.removeprefix("val/")
    scores = {path: _stored_score(run_of(path), name) for path in checkpoints}
    sign = -1 if lower_is_better(name) else 1
    best = max(checkpoints, key=lambda path: -math.inf if scores[path] is None else sign * (scores[path] or 0))
    text = f"Checkpoint: {checkpoints[0]}"
    if len(checkpoints) == 1:
        return text
    text += f", of the newest of {len(checkpoints)} runs"
    newest = scores[checkpoints[0]]
    if newest is not None and scores[best] is not None and best != checkpoints[0]:
        text += f" ({name} {newest:.4f}); {best} has the best {name}, {scores[best]:.4f}"
    return text


def _stored_score(run: Path, name: str) -> float | None:
    score = (stored_scores(run) or {}).get(name)
    return score if isinstance(score, float) else None


def stored_scores(folder: Path) -> dict[str, Any] | None:
    """The scores.json of a run or a report; None where it is missing or damaged."""
    try:
        stored = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def stored_split(run: Path) -> dict[str, list[str]] | None:
    """The split that a run trained on; None where its split.json is missing or damaged."""
    try:
        stored = json.loads((run / SPLIT).read_text(encoding="utf-8"))
        return {name: stored.get(name, []) for name in NAMES}
    except (OSError, ValueError, AttributeError):
        return None


def stored_config(run: Path) -> dict[str, Any]:
    """The arguments of ``fit`` that a run went on with last; none where its config is missing or damaged."""
    try:
        stored = yaml.safe_load((newest_config(run) or run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return stored if isinstance(stored, dict) else {}


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= flattened(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat


def make_folder(folder: Path, cure: str) -> None:
    """Create a run folder, or one of several runs.

    Args:
        folder: It may exist.
        cure: What the user does when it cannot be written.

    Raises:
        InputError: When it cannot be created or written; the message ends in the cure.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error, cure) from error


def _unwritable(folder: Path, error: OSError, cure: str) -> InputError:
    return InputError(f"the folder {folder} cannot be written ({error.strerror or error}); {cure}")


def config_text(parser: LightningArgumentParser, config: Namespace) -> str:
    """The resolved arguments of ``fit`` as YAML that runs the same again, anew and in a folder of its own."""
    fresh = config.clone()
    fresh.ckpt_path = fresh.run_folder = None
    return str(parser.dump(fresh, skip_unset=False))


class RunFolder(SaveConfigCallback):
    """Writes the resolved config and the split into the run folder, and the config to every logger.

    Args:
        parser: Of the command.
        config: Resolved.
        folder: Of the run.
        resumed: Continue in an existing run: the config becomes config-resume1.yaml.
        text: The config, as it was before its loggers were given a place in this run folder.
    """

    def __init__(self, parser: Any, config: Any, folder: Path, resumed: bool, text: str) -> None:
        super().__init__(parser, config)
        self.folder = folder
        self.resumed = resumed
        self.text = text

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write, on rank 0 and in ``fit`` only.

        Raises:
            InputError: When another run began in the folder since it was found to hold none.
        """
        if not trainer.is_global_zero or stage != "fit":
            return
        config = next(path for path in _configs(self.folder) if not path.exists())
        if not self.resumed and config.name != CONFIG:
            raise InputError(f"another fit has just begun in {self.folder}; give another --run_folder")
        write_whole(config, self.text)
        if not self.resumed:
            data: Any = trainer.datamodule  # type: ignore[attr-defined] # set by the CLI
            write_split(self.folder / SPLIT, data.split, data.unused)
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(self.text))


def _is_first_process() -> bool:
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
