"""Labelled samples and the checkpoint that is scored on them; what it predicts for each."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmentation.callbacks.runs import config_beside, run_of
from segmentation.data.configured import data_of
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.sample import Sample, stacks
from segmentation.data.unlabelled import UNLABELLED
from segmentation.errors import InputError
from segmentation.inference.objects import Method
from segmentation.inference.predictor import Predictor
from segmentation.model.checkpoint import checkpoints_of
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import TorchNetwork, load_module

ListName = Literal["train", "val", "test"]

_STAGES = {"train": "fit", "val": "validate", "test": "test"}


@dataclass(frozen=True)
class Scored:
    """Some samples of one checkpoint.

    Attributes:
        predictor: What labels the samples.
        module: The checkpoint.
        data: As the config of its run has it, or another that was given; surveyed.
        ids: The samples, in the order of their list.
        name: Of the run; of a cross-validation that of the fold.
        split: Which list of the split they are.
        ckpt_path: File of the checkpoint.
        config: The file that says what the data are.
        seen: Those of ``ids`` that the checkpoint was trained on.
        instances: How the predicted pixels of class 1 become objects.
    """

    predictor: Predictor
    module: SegmentationModule
    data: SegmentationDataModule
    ids: list[str]
    name: str
    split: ListName
    ckpt_path: Path
    config: Path
    seen: tuple[str, ...] = ()
    instances: Method = "components"

    @property
    def digests(self) -> dict[str, str]:
        """Id -> digest of the pixels; ``""`` where they were not surveyed."""
        return {key: self.data.records[key].digest if key in self.data.records else "" for key in self.ids}


class Prediction(NamedTuple):
    """One sample and what is predicted for it.

    Attributes:
        scored: Which checkpoint predicted it.
        sample: With its group.
        image: (H, W, C) as stored.
        mask: (H, W) uint8 class indices, or ``ignore_index``.
        probabilities: (K, H, W) float32.
        labels: (H, W) uint8 class indices at the stored decision, as ``predict`` writes them.
    """

    scored: Scored
    sample: Sample
    image: NDArray[Any]
    mask: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]


def scored_of(
    ckpt_path: str | Path,
    split: ListName | None = None,
    config: Path | None = None,
    device: str | None = None,
    allow_seen: bool = False,
    options: Mapping[str, Any] | None = None,
    neighbour_weight: float | None = None,
    instances: Method = "components",
) -> list[Scored]:
    """What a checkpoint, a run or a cross-validation is scored on.

    Args:
        ckpt_path: A ``.ckpt`` file or a folder, as for ``checkpoints_of``; of a folder of ``crossval`` each fold's best
            checkpoint is scored on the samples that it did not train on.
        split: The set; None for the test set where there is one, else the validation set.
        config: What the data are; None for the config.yaml of the run.
        device: ``cpu``, ``cuda``, ...; None for a GPU where there is one.
        allow_seen: Score samples that the checkpoint was trained on.
        options: Arguments of ``load`` that are the checkpoint's too, such as ``tta``, instead of its own.
        neighbour_weight: As for ``load``.
        instances: As for ``objects.instances``.

    Returns:
        One, or one for each fold.

    Raises:
        InputError: When there is no such checkpoint, config or list; when data and checkpoint do not belong
            together; when samples were trained on and that is not allowed; when a weight is given and nothing has
            neighbours.
    """
    path = Path(ckpt_path)
    files = checkpoints_of(path)
    if len(files) > 1:
        if split not in (None, "val") or config is not None:
            raise InputError(
                f"{path} is a cross-validation: each fold is scored on its own validation samples; "
                "leave --split and --config out, or give the run folder of one fold"
            )
        split = "val"
    networks = (TorchNetwork(load_module(file, options), device) for file in files)
    found = [
        replace(_scored(network, neighbour_weight, file, split, config, allow_seen), instances=instances)
        for network, file in zip(networks, files, strict=True)
    ]
    if neighbour_weight is not None and all(len(stacks(one.data.samples(one.ids))) == len(one.ids) for one in found):
        raise InputError(
            "--neighbour_weight asks the slices before and after, but no two samples are pages of one file; "
            "keep serial sections as one multi-page TIFF (TiffStackSource), or leave it out"
        )
    return found


def predictions(
    scored: Sequence[Scored], advance: Callable[[], None] | None = None, ids: Collection[str] | None = None
) -> Iterator[Prediction]:
    """Read and predict the samples, one after the other; the memory is that of one, with ``neighbour_weight`` of three.

    Args:
        scored: Samples and checkpoints.
        advance: Called after each sample.
        ids: Only these; None for all.

    Yields:
        In the order of ``scored`` and of their lists.

    Raises:
        InputError: Naming the sample that cannot be read or does not fit the checkpoint.
    """
    for one in scored:
        wanted = [key for key in one.ids if ids is None or key in ids]
        alone = one.predictor.neighbour_weight is None
        for stack in stacks(one.data.samples(wanted if alone else one.ids)):
            pairs, ahead = tee(map(one.data.reader, stack))
            answers = one.predictor.stack(image for image, _ in ahead)
            for sample, (image, mask) in zip(stack, pairs, strict=True):
                try:
                    probabilities = next(answers)
                except InputError as error:
                    raise InputError(f"{sample.id}: {error}") from error
                if sample.id not in wanted:
                    continue  # a neighbour
                yield Prediction(one, sample, image, mask, probabilities, one.predictor.labels(probabilities))
                if advance is not None:
                    advance()


def seen_samples(evaluated: Mapping[str, str], trained: Mapping[str, str], allowed: bool) -> list[str]:
    """The samples to be scored that were trained on.

    One id in two data sets is no overlap: the pixels must agree too, where they are known. Images that only a teacher
    taught (``data.unlabelled``) have ids of their own, so that their pixels alone tell.

    Args:
        evaluated: Id -> digest of the pixels, or ``""`` where it is not known.
        trained: The same of the training samples.
        allowed: Whether they may be scored all the same.

    Raises:
        InputError: When there are any and they may not.
    """
    taught = {digest for key, digest in trained.items() if key.startswith(UNLABELLED)} - {""}
    seen = [
        key
        for key, digest in evaluated.items()
        if digest in taught or (key in trained and (not digest or not trained[key] or digest == trained[key]))
    ]
    if seen and not allowed:
        raise InputError(
            f"{len(seen)} of {len(evaluated)} samples to be scored were trained on: {', '.join(seen[:5])}; "
            "use the split of the run (data.split_file), in fit teachers and initial weights that have not seen them, or "
            "--allow_seen to score them all the same"
        )
    return seen


def _scored(
    network: TorchNetwork,
    neighbour_weight: float | None,
    file: Path,
    split: ListName | None,
    config: Path | None,
    allow_seen: bool,
) -> Scored:
    config = config or config_beside(file)
    if config is None:
        raise InputError(f"there is no config.yaml in the run of {file}; give the data as --config")
    data = data_of(config)
    data.prepare_data()
    chosen: ListName = split or ("val" if data.tests_on_validation else "test")
    if not data.split[chosen]:
        counts = ", ".join(f"{len(ids)} {name}" for name, ids in data.split.items())
        raise InputError(f"the split of {config} has no {chosen} samples ({counts}); give another --split")
    names, known = list(data.source.classes.names), list(network.description.classes.names)
    if names != known:
        raise InputError(f"{file} was trained on the classes {known}, the data of {config} have {names}")
    data.setup(_STAGES[chosen])
    predictor, module = Predictor([network], neighbour_weight), network.module
    scored = Scored(predictor, module, data, data.split[chosen], run_of(file).name, chosen, file, config)
    return replace(scored, seen=tuple(seen_samples(scored.digests, module.trained_on, allow_seen)))
