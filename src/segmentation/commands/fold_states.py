"""What there is of each fold of a cross-validation: finished, begun, or new; how a run that was cut goes on."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from segmentation.callbacks.checkpoints import FOLDER
from segmentation.callbacks.runs import CONFIG, flattened, stored_config, stored_scores, stored_split
from segmentation.commands.fit_arguments import FitArguments
from segmentation.data.configured import build
from segmentation.data.splits import Split
from segmentation.errors import InputError
from segmentation.model.checkpoint import BEST

LAST = f"{FOLDER}/last.ckpt"
WATCHING = (
    *("data.workers", "data.eval_batch_size", "trainer.logger", "trainer.log_every_n_steps", "trainer.profiler"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "checkpoint.every_n_steps"),
)
"""Arguments of ``fit`` that change how a run is watched and how fast it is, not what it learns."""

State = Literal["finished", "begun", "new"]


def states_of(folders: Sequence[Path], asked: FitArguments) -> dict[Path, State]:
    """What there is of each fold, once it is sure that its arguments and samples are those asked for.

    Args:
        folders: Run folders, fold 0 first.
        asked: The arguments of all folds.

    Raises:
        InputError: When the data set cannot be dealt to the folds, or a folder is of other arguments or samples.
    """
    states: dict[Path, State] = {}
    problems = []
    for fold, folder in enumerate(folders):
        states[folder] = state_of(folder)
        if fold > 0 and states[folder] == "new":
            continue
        split = _split(asked, len(folders), fold)  # of the first fold always: it shows whether there can be folds
        if states[folder] == "new":
            continue
        config = asked.plain()
        config["data"] |= {"folds": len(folders), "fold": fold}
        different = differences(asked.completed(stored_config(folder)), config, stored_split(folder) == split)
        if different:
            problems.append(f"{folder} is of another training:" + "".join(f"\n  {line}" for line in different))
    if problems:
        raise InputError("\n".join(problems) + "\ngive the same arguments, or another folder as --out")
    return states


def state_of(folder: Path) -> State:
    """Finished with a whole scores.json and best.ckpt, begun with last.ckpt, else new."""
    if not (folder / CONFIG).is_file():
        return "new"
    if stored_scores(folder) is not None and (folder / BEST).is_file():
        return "finished"
    return "begun" if (folder / LAST).is_file() else "new"


def going_on(run: Path) -> list[str]:
    """Arguments with which ``fit`` goes on in a run folder; what was stopped before its first last.ckpt is removed."""
    if (run / LAST).is_file():
        return ["--ckpt_path", str(run / LAST)]
    if (run / CONFIG).is_file():
        shutil.rmtree(run)
    return []


def _split(asked: FitArguments, count: int, fold: int) -> Split:
    arguments = asked.resolved.data.clone()
    arguments.folds, arguments.fold = count, fold
    data = build(arguments)
    if fold == 0:
        data.prepare_data()
    lists = data.source.lists() or {}
    if "val" in lists:
        raise InputError(
            f"crossval deals the samples to folds itself, but this data set brings its own validation set of "
            f"{len(lists['val'])} samples. Train on its lists with fit, or name a source without lists (FolderSource with "
            "images and masks). For splits of your own, run fit --data.split_file FILE --run_folder OUT/fold0 and so on: "
            "predict and report take OUT as they take the folder of crossval"
        )
    return data.split


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any], same_samples: bool) -> list[str]:
    """Lines about the arguments of two configs that differ, without those that change no result, and about the samples."""
    there, here = flattened(stored), flattened(asked)
    names = [name for name in here | there if not name.startswith(WATCHING)]
    return [
        f"{name}: {there.get(name)} there, {here.get(name)} asked for"
        for name in names
        if there.get(name) != here.get(name)
    ] + ([] if same_samples else ["the samples of its split are not those of the data set now"])
