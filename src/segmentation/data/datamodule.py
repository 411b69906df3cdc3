"""From a source to batches: splits, survey, loaders."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from segmentation.data import splits
from segmentation.data.crops import Target
from segmentation.data.dataset import DrawSampler, Item, Maps, Reader, SizeBatches, TrainingDraws, WholeImages
from segmentation.data.free_memory import free_memory
from segmentation.data.groups import regrouped
from segmentation.data.loading import Loader, TrainingLoader, default_workers
from segmentation.data.mixing import Mixing
from segmentation.data.presets import Step
from segmentation.data.problems import DataError
from segmentation.data.sample import Sample
from segmentation.data.shares import check_shares
from segmentation.data.source import Source
from segmentation.data.survey import Record, class_pixels, normalisation, read_class_pixels, survey
from segmentation.data.unlabelled import unlabelled_samples
from segmentation.errors import InputError
from segmentation.inference.intensity import Intensity, Rule, default_rule, fit_intensity

if TYPE_CHECKING:
    from segmentation.data.augmentation import Augmentation


class SegmentationDataModule(LightningDataModule):
    """Splits a source, checks it, and loads batches.

    A batch is ``{"image": (B, C, H, W) uint8 or float32, "mask": (B, H, W) uint8, "id": [str], "maps": {}}``,
    not normalised: the module does that on the device. ``maps`` has what the loss must know of the masks, by name
    (B, ..., H, W) float32. On the device masks become int64, which torch wants of class indices.

    Args:
        source: The data set.
        split_file: A split.json of an earlier run; wins over everything below.
        folds: Number of parts for cross-validation.
        fold: Which part validates, from 0.
        val_fraction: Share of the samples that validates when there are no folds.
        test_fraction: Share of the samples that tests when the source has no test set.
        split_kind: contiguous, random or stratified (by class content, which reads every mask once); null
            for contiguous folds and random fractions, which are contiguous too for the pages of one stack.
        group: What belongs together and never straddles a split: a regular expression searched in the
            sample's id, such as ``^[^_]+``, or a .csv with the columns id and group; null for the source's.
        crop: Side of the square training crops in pixels; null for whole images.
        batch_size: Crops in a training step and process.
        eval_batch_size: Images in an evaluation step; never changes a score.
        samples_per_epoch: Crops in an epoch over all processes; null for one per training image.
        unlabelled: Files, folders and stacks of images without masks, drawn as often as those with; for
            distillation.teacher, from which alone something is learned on them.
        foreground_crops: Share of the crops that hold a random pixel of a random class other than the most
            common one of the training images (nnU-Net: 0.33), for classes that a random crop seldom meets.
        boundary_crops: Share of the crops that hold a random pixel of a boundary between two classes, for
            thin walls and gaps between objects; with foreground_crops at most 1.
        cutmix: Share of the crops that get a random rectangle of another crop (Yun et al. 2019,
            doi:10.1109/ICCV.2019.00612).
        copy_paste: Share of the crops that get objects of another crop at their own place, connected pixels
            of a class other than the most common one (Ghiasi et al. 2021, doi:10.1109/CVPR46437.2021.00294);
            with cutmix at most 1.
        augment: none, flips, em, em_strong, natural, a list of albumentations transforms, or a YAML file of them.
        intensity: What stored pixels become: none (as stored), range (0..1 by the pixel type; 8 bits stay),
            max (the largest training value becomes 1) or percentile (0.5 and 99.5 of the training pixels
            become 0 and 1); null for range with 8-bit images and percentile with deeper ones.
        workers: Loader processes; null for half the cores, at most 8.
        seed: Of crops and augmentation; null for seed_everything.
    """

    def __init__(
        self,
        source: Source,
        split_file: str | None = None,
        folds: int | None = None,
        fold: int | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        split_kind: splits.Kind | None = None,
        group: str | None = None,
        crop: int | None = 256,
        batch_size: int = 8,
        eval_batch_size: int = 1,
        samples_per_epoch: int | None = None,
        unlabelled: list[str] | None = None,
        foreground_crops: float = 0.0,
        boundary_crops: float = 0.0,
        cutmix: float = 0.0,
        copy_paste: float = 0.0,
        augment: str | list[Step] = "flips",
        intensity: Rule | None = None,
        workers: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        counts = {
            "crop": crop,
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "samples_per_epoch": samples_per_epoch,
        }
        for least, values in ((1, counts), (0, {"workers": workers, "seed": seed})):
            for name, value in values.items():
                if value is not None and value < least:
                    raise InputError(f"data.{name} is {value}; give {least} or more")
        sought = {"foreground_crops": foreground_crops, "boundary_crops": boundary_crops}
        check_shares(sought)
        check_shares({"cutmix": cutmix, "copy_paste": copy_paste})
        for name, share in sought.items():
            if share and crop is None:
                raise InputError(
                    f"data.{name} is {share}, but without data.crop the whole images are drawn; "
                    f"set data.crop to a side in pixels, or leave data.{name} out"
                )
        self.source = source
        self.split_file = split_file
        self.folds = folds
        self.fold = fold
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_kind = split_kind
        self.group = group
        self.crop = crop
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.samples_per_epoch = samples_per_epoch
        self.unlabelled = unlabelled or []
        self.foreground_crops = foreground_crops
        self.boundary_crops = boundary_crops
        self.cutmix = cutmix
        self.copy_paste = copy_paste
        self.augment = augment
        self.augmentation: Augmentation | None = None  # made by setup("fit")
        self.intensity_rule = intensity
        self.workers = default_workers() if workers is None else workers
        self.seed = seed or 0
        self.reader = Reader(source)
        self.maps: Maps = {}  # the module sets those of its loss
        self.records: dict[str, Record] = {}
        self._surveyed: set[str] = set()  # ids that were offered to the survey, which reads some of very many
        self._samples: dict[str, Sample] = {}
        self._unlabelled: list[Sample] = []
        self._split: splits.Split | None = None

    @property
    def classes(self) -> dict[str, Any]:
        """The source's classes as plain values; linked to the model."""
        return self.source.classes.to_dict()

    @property
    def in_channels(self) -> int:
        """The source's channels; linked to the model."""
        return self.source.in_channels

    @property
    def split(self) -> splits.Split:
        """Sample ids under ``train``, ``val`` and ``test``.

        Lists the files and reads no pixels; where a stratified split is drawn, it reads the masks.
        """
        if self._split is None:
            samples = self.source.samples()
            if self.group is not None:
                samples = regrouped(samples, self.group)
            self._samples = {sample.id: sample for sample in samples}
            if self.split_file is not None:
                self._split = splits.read_split(Path(self.split_file), samples)
            else:
                self._split = splits.split(
                    samples,
                    self.source.lists(),
                    self.folds,
                    self.fold,
                    self.val_fraction,
                    self.test_fraction,
                    self.split_kind,
                    lambda samples: read_class_pixels(self.source, samples),
                )
        return self._split

    def samples(self, ids: Sequence[str]) -> list[Sample]:
        """The samples of these ids in a list of the split, with their groups."""
        return [self._samples[key] for key in ids]

    @property
    def unused(self) -> list[str]:
        """Ids of the labelled samples that are in no list of the split."""
        return splits.unused(self.split, list(self._samples.values()))

    @property
    def tests_on_validation(self) -> bool:
        """Whether there is no test set, so that ``test`` scores the samples that chose the checkpoint."""
        return not self.split["test"]

    def prepare_data(self) -> None:
        """Let the source fetch what is missing."""
        self.source.prepare()

    def setup(self, stage: str) -> None:
        """Read and check the samples that this stage needs; keep them in memory when they fit."""
        if stage == "fit" and self.augmentation is None:
            from segmentation.data.augmentation import Augmentation  # loads slowly, and nothing else needs it

            self.augmentation = Augmentation(self.augment)
        lists = [self.split["train"], self.split["val"]] if stage == "fit" else [self._evaluated_ids(stage)]
        if not all(lists):  # only a split_file can be so
            counts = ", ".join(f"{len(ids)} {name}" for name, ids in self.split.items())
            raise InputError(
                f"data.split_file {self.split_file} lists {counts} samples; {stage} needs "
                + ("train and val" if stage == "fit" else "val" if stage == "validate" else "test or val")
            )
        ids = [sample_id for list_ in lists for sample_id in list_]
        new = [self._samples[sample_id] for sample_id in ids if sample_id not in self._surveyed]
        records, problems = survey(self.reader, new, memory=free_memory() // 4)
        if problems:
            raise DataError(problems, [self._samples[record.id] for record in records])
        self.records |= {record.id: record for record in records}
        self._surveyed |= {sample.id for sample in new}
        if stage == "fit":
            self._check_training()
            if self.unlabelled and not self._unlabelled:
                self._read_unlabelled()
            if new:
                self._announce()

    @property
    def intensity(self) -> Intensity:
        """The rule for raw pixels, fitted to the training images.

        Loaders take the module's instead where it has one: a checkpoint's is never fitted anew.
        """
        records = self._training_records() or list(self.records.values())
        rule = self.intensity_rule or default_rule(records[0].dtype)
        if rule == "max":
            return fit_intensity(rule, records[0].dtype, np.array([record.highest for record in records]))
        return fit_intensity(rule, records[0].dtype, np.concatenate([record.pixel_sample for record in records]))

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel of the training images, in network units.

        Of all pixels; with the rule ``percentile``, which clips, of the pixels that the survey kept of each
        image.
        """
        records, intensity = self._training_records(), self.intensity
        if intensity.rule != "percentile":
            return intensity.moments(*normalisation(records))
        clipped = intensity(np.concatenate([record.pixel_sample for record in records])).astype(np.float64)
        return clipped.mean(0).tolist(), clipped.std(0).tolist()

    def _training_records(self) -> list[Record]:
        return [self.records[key] for key in self.split["train"] if key in self.records]

    def class_pixels(self) -> list[int]:
        """Pixels of each class in the training images that were surveyed."""
        return [int(count) for count in class_pixels(self._training_records())]

    def trained_on(self) -> dict[str, str]:
        """Id -> pixel digest (``""`` where it was not surveyed) of every training sample."""
        return self._digests([*self.split["train"], *(sample.id for sample in self._unlabelled)])

    def evaluated(self, stage: str) -> dict[str, str]:
        """Id -> pixel digest of every sample that ``validate`` or ``test`` scores."""
        return self._digests(self._evaluated_ids(stage))

    def batches_per_epoch(self) -> int:
        """Training batches of one process in an epoch, known without a loader."""
        world = 1 if self.trainer is None else self.trainer.world_size
        draws = self._draws() // world
        return draws // self.batch_size if draws >= self.batch_size else min(1, draws)

    def train_dataloader(self) -> DataLoader[Item]:
        """Crops, from where a resumed run stopped."""
        epoch, batches, rank, world = 0, 0, 0, 1
        if self.trainer is not None:
            loop = self.trainer.fit_loop
            epoch = loop.epoch_progress.current.processed  # type: ignore[attr-defined] # a subclass of what is declared
            if loop.epoch_progress.current.ready > epoch:  # else saved after its end, the batches not yet set back
                # "ready" counts the batch whose end is saving; "completed" would repeat it
                batches = loop.epoch_loop.batch_progress.current.ready
            rank, world = self.trainer.global_rank, self.trainer.world_size
        draws = self.training_draws()
        sampler = DrawSampler(len(draws), rank, world, epoch, batches * self.batch_size)
        return TrainingLoader(
            draws,
            self.workers,
            self.seed,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=len(sampler) >= self.batch_size,
            pin_memory=self._goes_to_gpu(),
        )

    def training_draws(self) -> TrainingDraws:
        """The training data set behind ``train_dataloader``."""
        assert self.augmentation is not None
        samples = self.samples(self.split["train"]) + self._unlabelled
        foreground = self._foreground()
        return TrainingDraws(
            self._finished_reader(),
            samples,
            self._draws(),
            self.crop,
            self.augmentation,
            self.seed,
            Target(self.foreground_crops, self.boundary_crops, foreground, self.source.classes.ignore_index),
            Mixing(self.cutmix, self.copy_paste, foreground),
            self.maps,
        )

    def _foreground(self) -> tuple[int, ...]:
        """All classes but the most common one of the training images."""
        unsought = int(np.argmax(self.class_pixels()))
        return tuple(k for k in range(len(self.source.classes)) if k != unsought)

    def _draws(self) -> int:
        """Draws in an epoch over all processes: whole batches, as what is dropped would be missing from a round of the samples."""
        draws = self.samples_per_epoch or len(self.split["train"]) + len(self._unlabelled)
        step = max(1, self.batch_size) * (1 if self.trainer is None else self.trainer.world_size)  # the Tuner tries 0
        return draws // step * step or draws

    def val_dataloader(self) -> DataLoader[Item]:
        """Whole validation images."""
        return self._evaluation_loader("validate")

    def test_dataloader(self) -> DataLoader[Item]:
        """Whole test images, or the validation images where there are none."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, stage: str) -> DataLoader[Item]:
        samples = self.samples(self._evaluated_ids(stage))
        reader = self._finished_reader()
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        batches = SizeBatches(self._sizes(samples), self.eval_batch_size, rank, world)
        in_memory = all(sample.id in reader.kept for sample in samples)
        whole = WholeImages(reader, samples, self.maps)
        workers = 0 if in_memory else self.workers
        return Loader(whole, workers, self.seed, batch_sampler=batches, pin_memory=self._goes_to_gpu())

    def _goes_to_gpu(self) -> bool:
        """Pinned memory takes some of a GPU, which a training on the CPU leaves to others."""
        return torch.cuda.is_available() if self.trainer is None else self.trainer.strategy.root_device.type == "cuda"

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Masks as int64; they travel as bytes, for int64 is several times an image."""
        return batch | {"mask": batch["mask"].long()}

    def on_exception(self, exception: BaseException) -> None:
        """End all workers. Lightning leaves those of the training when a validation breaks, and so no program could end."""
        if self.trainer is not None:
            self.trainer.fit_loop.teardown()

    def _finished_reader(self) -> Reader:
        fitted = self.intensity
        used: Intensity | None = getattr(getattr(self.trainer, "lightning_module", None), "intensity", None)
        if used is not None and used.dtype != fitted.dtype:
            raise InputError(
                f"the images are {fitted.dtype}, the checkpoint was trained on {used.dtype}; "
                f"convert the images to {used.dtype} in the value range of the training images"
            )
        self.reader.intensity = used or fitted
        return self.reader

    def _sizes(self, samples: Sequence[Sample]) -> list[tuple[int, int]]:
        if self.eval_batch_size == 1:
            return [(0, 0)] * len(samples)
        return [self._size(sample) for sample in samples]

    def _size(self, sample: Sample) -> tuple[int, int]:
        if sample.id in self.records:
            return self.records[sample.id].size
        height, width = self.reader.read(sample)[1].shape
        return height, width

    def _evaluated_ids(self, stage: str) -> list[str]:
        return self.split["test" if stage == "test" and not self.tests_on_validation else "val"]

    def _digests(self, ids: Sequence[str]) -> dict[str, str]:
        return {key: self.records[key].digest if key in self.records else "" for key in ids}

    def _check_training(self) -> None:
        sizes = {self.records[key].size for key in self.split["train"] if key in self.records}
        if self.crop is None and self.batch_size > 1 and len(sizes) > 1:
            raise InputError(
                f"training images have {len(sizes)} sizes, such as {sorted(sizes)[:3]}, and cannot share a batch; "
                "set data.crop to a side in pixels, or data.batch_size: 1"
            )

    def _read_unlabelled(self) -> None:
        samples = unlabelled_samples(self.unlabelled, self.in_channels, self.source.context)
        records, problems = survey(self.reader, samples, memory=free_memory() // 4)
        if problems:
            raise DataError(problems)
        tested, _ = survey(self.reader, self.samples(self.split["test"]))  # their faults are for ``test``
        validated = [self.records[key] for key in self.split["val"] if key in self.records]
        held_out = {record.digest for record in [*validated, *tested]}
        leaked = [record.id for record in records if record.digest in held_out]
        if leaked:
            raise InputError(
                f"data.unlabelled: {len(leaked)} images are validation or test images too, such as "
                f"{', '.join(leaked[:3])}; take them away, as scores on them would say nothing about new images"
            )
        self.records |= {record.id: record for record in records}
        self._unlabelled = samples

    def _announce(self) -> None:
        split = self.split
        unused = f", {len(self.unused)} in none of them" if self.unused else ""
        unused += f", {len(self._unlabelled)} without masks" if self._unlabelled else ""
        pixels = self.class_pixels()
        shares = ", ".join(
            f"{name} {count / max(1, sum(pixels)):.1%}"
            for name, count in zip(self.source.classes.names, pixels, strict=True)
        )
        rank_zero_info(
            f"Data: {len(split['train'])} train, {len(split['val'])} val, {len(split['test'])} test{unused}; "
            f"training pixels: {shares}"
        )
