"""What stands on the command line of fit, validate and test, before it is parsed."""

from itertools import chain, pairwise
from pathlib import Path

from segmentation.callbacks import runs
from segmentation.callbacks.checkpoints import FOLDER
from segmentation.errors import InputError
from segmentation.model.checkpoint import checkpoints_of
from segmentation.typed import typed


def with_file(args: list[str]) -> list[str]:
    """``validate`` and ``test`` take the folder of a run as its best checkpoint."""
    ckpt_path = _last(args, "--ckpt_path")
    if args[0] == "fit" or ckpt_path is None or not Path(ckpt_path).is_dir():
        return args
    files = checkpoints_of(ckpt_path)
    if len(files) > 1:
        raise InputError(
            f"{ckpt_path} is a cross-validation and {args[0]} scores one checkpoint; for all folds: "
            f"{typed('report', ckpt_path=ckpt_path)}"
        )
    return [*args, f"--ckpt_path={files[0]}"]  # the last one counts


def config_beside(args: list[str]) -> Path | None:
    """The config of the checkpoint's run when only a checkpoint is given."""
    ckpt_path = _last(args, "--ckpt_path")
    if args[0] == "fit" and ckpt_path is not None and Path(ckpt_path).is_dir():
        raise InputError(f"{ckpt_path} is a folder; to go on with a run give its {FOLDER}/last.ckpt")
    if ckpt_path is not None and ckpt_path not in ("best", "last") and not Path(ckpt_path).is_file():
        found = sorted(map(str, Path(runs.ROOT).glob(f"*/*/{FOLDER}/*.ckpt")))[-5:]
        raise InputError(
            f"the checkpoint {ckpt_path} does not exist" + "".join(f"\n  there is {path}" for path in found)
        )
    if ckpt_path is None or values(args, "--config", "-c"):
        return None
    if ckpt_path in ("best", "last"):
        if _last(args, "--data.source") is None:
            raise InputError(
                f"--ckpt_path {ckpt_path} is that of a config; give --config too, or the file of a checkpoint instead of {ckpt_path}"
            )
        return None
    return runs.config_beside(Path(ckpt_path))


def typed_of_model(args: list[str]) -> set[str]:
    """Arguments of the model that stand on the command line."""
    words = (arg.split("=", 1)[0] for arg in args)
    return {word.split(".")[1].removesuffix("+") for word in words if word.startswith("--model.")}


def values(args: list[str], *names: str) -> list[str]:
    """Those of an option, in order."""
    words = (
        [after] if arg in names else [arg.split("=", 1)[1]] if arg.split("=", 1)[0] in names else []
        for arg, after in pairwise([*args, ""])
    )
    return list(chain.from_iterable(words))


def _last(args: list[str], name: str) -> str | None:
    return next(reversed(values(args, name)), None)
