"""A trained network, or several, that teach another one while it is trained."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segmentation.errors import InputError
from segmentation.model.checkpoint import checkpoints_of
from segmentation.model.initial_weights import check_same_task
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import load_module


class Distillation(Callback):
    """Lets trained networks teach the one that is trained.

    Its loss becomes ``(1 - share) * loss + share * answers + features * attention``:

    ``answers`` is ``T^2 KL(q || p)``, the mean over all pixels, ignored ones too, where q are the teachers' mean
    probabilities and p the student's, both of logits divided by the temperature T (Hinton et al. 2015, arXiv 1503.02531).
    ``attention`` is ``|a - b|^2``, the mean over the levels that both encoders have at one size (of several, the deepest
    of one with the deepest of the other, and so on), where a and b are the mean squares over the channels of their
    features, as vectors of length 1 (Zagoruyko & Komodakis 2017, attention transfer, arXiv 1612.03928): it fits
    encoders of any widths and has no weights of its own.

    Teachers see the crops of the student, augmented alike, in evaluation mode and with their own mean and deviation; by
    the intensity rules max and percentile, though, within the bounds of the student's images. They are in no checkpoint;
    a resumed run is given them again. What they were trained on counts as trained on.

    Args:
        teacher: A checkpoint, a run folder, a folder of crossval, or a list of these; null for none.
        share: Of the teachers' answers in the loss, 0..1; the masks have the rest.
        temperature: The higher, the more count the classes that a teacher holds for less likely.
        features: Weight of ``attention``, 0 or more; for networks with an encoder.
    """

    def __init__(
        self,
        teacher: str | list[str] | None = None,
        share: float = 0.5,
        temperature: float = 2.0,
        features: float = 0.0,
    ) -> None:
        if not 0 <= share <= 1:
            raise InputError(f"distillation.share is {share}; give a share of the loss from 0 to 1")
        if temperature <= 0 or features < 0:
            raise InputError(
                f"distillation.temperature is {temperature} and features {features}; give a temperature above 0, such as "
                "2, and a weight of the features of 0 or more"
            )
        self.paths = [teacher] if isinstance(teacher, str) else teacher or []
        self.share = share
        self.temperature = temperature
        self.features = features
        self.teachers: list[SegmentationModule] = []
        self._encoders: list[_Encoder] = []

    def load(self, student: SegmentationModule, data: Any) -> None:
        """Load the teachers, once, and let the student know what they were trained on.

        Args:
            student: Not trained yet.
            data: Its datamodule, set up.

        Raises:
            InputError: When there is no such checkpoint, or it does not fit the student or the images.
        """
        if data.unlabelled and not self.paths:
            raise InputError(
                "data.unlabelled: nothing is learned on images without masks unless a teacher answers for them; give one as "
                "distillation.teacher, or leave data.unlabelled out"
            )
        if self.teachers or not self.paths:
            return
        files = [file for path in self.paths for file in checkpoints_of(path)]
        for file in files:
            teacher = load_module(file).eval().requires_grad_(False)
            check_same_task(student, teacher, f"the teacher {file}")
            taken, given = teacher.intensity, data.intensity
            if taken is not None and (taken.dtype, taken.rule) != (given.dtype, given.rule):
                raise InputError(
                    f"the teacher {file} takes {taken.dtype} images by the rule {taken.rule}, these are {given.dtype} by "
                    f"{given.rule}; set data.intensity: {taken.rule}, or give a teacher of such images"
                )
            student.trained_on = teacher.trained_on | student.trained_on
            self.teachers.append(teacher)
        if self.features:
            for module in (student, *self.teachers):
                _encoder_of(module)
        rank_zero_info(f"Teachers: {', '.join(map(str, files))}")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the teachers where the command line has not."""
        if stage == "fit":
            student: Any = pl_module
            self.load(student, trainer.datamodule)  # type: ignore[attr-defined] # set by the CLI

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to teach; not before, as an average of the weights begins as a copy of the module."""
        student: Any = pl_module
        if not self.teachers:
            return
        if self.features:
            self._encoders = [_Encoder(_encoder_of(module)) for module in (student, *self.teachers)]
        student.teaching = self.taught

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Teach no more."""
        student: Any = pl_module
        student.teaching = None
        for encoder in self._encoders:
            encoder.handle.remove()
        self._encoders = []

    def taught(self, image: Tensor, logits: Tensor, loss: Tensor) -> Tensor:
        """The loss of a batch with the teachers' share.

        Args:
            image: (B, C, H, W) raw pixels.
            logits: (B, 1 or K, H, W) of the student.
            loss: What the masks say, a scalar.
        """
        binary = self.teachers[0].classes.binary
        for teacher in self.teachers:
            if teacher.device != image.device:
                teacher.to(image.device)
        with torch.no_grad():
            soft = [teacher.probabilities(teacher(image).float() / self.temperature) for teacher in self.teachers]
            believed = torch.stack(soft).mean(0)
        with torch.autocast(image.device.type, enabled=False):
            answers = self.temperature**2 * divergence(logits.float() / self.temperature, believed, binary)
            total = (1 - self.share) * loss + self.share * answers
            if self.features:
                student, *others = (encoder.take() for encoder in self._encoders)
                total = total + self.features * torch.stack([attention_distance(student, one) for one in others]).mean()
        return total


def divergence(logits: Tensor, believed: Tensor, binary: bool) -> Tensor:
    """KL(q || p) of probabilities q (B, K, H, W) from the p of logits (B, 1 or K, H, W), the mean over pixels."""
    logs = F.logsigmoid(torch.cat([-logits, logits], 1)) if binary else F.log_softmax(logits, 1)
    return F.kl_div(logs, believed, reduction="none").sum(1).mean()


def attention_distance(first: Sequence[Any], second: Sequence[Any]) -> Tensor:
    """How far apart two encoders look: ``|a - b|^2`` in 0..2, the mean over images and common levels.

    Args:
        first: What an encoder answers: the image, then a tensor (B, C, h, w) for each level; or, as that of DPT, such
            tensors in a list, then something else.
        second: Of another one, of the same images.

    Raises:
        InputError: When no level of one has the size of a level of the other.
    """
    one, other = _attention(first), _attention(second)
    # the shallow ones of the longer list are left over
    pairs = [pair for size in one if size in other for pair in zip(one[size], other[size], strict=False)]
    if not pairs:
        raise InputError(
            f"distillation.features compares encoders, but the student's features have the sizes {sorted(one)} and the "
            f"teacher's {sorted(other)}; set distillation.features: 0"
        )
    return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()


class _Encoder:
    """Keeps what an encoder answered last."""

    def __init__(self, encoder: nn.Module) -> None:
        self.answer: Sequence[Any] = []
        self.handle: RemovableHandle = encoder.register_forward_hook(self)

    def __call__(self, _encoder: nn.Module, _inputs: Any, answer: Any) -> None:
        self.answer = answer

    def take(self) -> Sequence[Any]:
        answer, self.answer = self.answer, []  # its graph is not to outlive the step
        return answer


def _attention(answer: Sequence[Any]) -> dict[tuple[int, int], list[Tensor]]:
    """(h, w) -> (B, h * w) of length 1, the deepest first; levels without channels stand for sizes that an encoder has not."""
    features = answer[0] if answer and isinstance(answer[0], (list, tuple)) else answer[1:]
    levels: dict[tuple[int, int], list[Tensor]] = {}
    for level in reversed(features):
        if isinstance(level, Tensor) and level.ndim == 4 and level.shape[1]:
            vectors = F.normalize(level.float().square().mean(1).flatten(1))
            levels.setdefault((level.shape[2], level.shape[3]), []).append(vectors)
    return levels


def _encoder_of(module: SegmentationModule) -> nn.Module:
    encoder = getattr(module.network.network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise InputError(
            f"distillation.features is for networks with an encoder, and {module.hparams['network']} has none; set it to 0"
        )
    return encoder
