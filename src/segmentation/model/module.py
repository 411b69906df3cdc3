"""From batches to logits and loss: the network, its normalisation, its scores, its checkpoint."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypedDict

import torch
from lightning import Callback, LightningModule
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from segmentation.errors import InputError
from segmentation.inference import tiling
from segmentation.inference.application import TOGETHER, application_of
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Criterion, Decision
from segmentation.inference.flips import Tta
from segmentation.inference.intensity import Intensity
from segmentation.metrics.region import JaccardIndex
from segmentation.metrics.scores import Kind, Scores, check_scores
from segmentation.model.averaging import AverageWeights, check_average
from segmentation.model.checkpoint import FORMAT, check_data, read_extras
from segmentation.model.finetuning import FrozenEncoder, check_finetuning, rates_by_layer
from segmentation.model.losses.class_weights import balanced_weights
from segmentation.model.networks.first_use import by_first_use
from segmentation.model.networks.unused import unused_parameters
from segmentation.model.networks.widths import Widths, set_widths
from segmentation.model.optimization import build_optimizer, build_schedule, check_optimization, watched
from segmentation.model.resizing import resized

DECIDED = ("threshold", "smallest_object", "largest_hole")
"""Arguments that are chosen on the validation samples where the user left them open."""

CONSTANT = 1e-6
"""A channel whose deviation is at most this share of its mean is taken for constant; sums of squares are not exact."""


Teaching = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Raw pixels (B, C, H, W), the logits for them and the loss by the masks -> the loss by the masks and a teacher."""


class Batch(TypedDict):
    """Image (B, C, H, W) uint8 or float32 not normalised, mask (B, H, W) int64, B sample ids, ``Loss.maps``."""

    image: Tensor
    mask: Tensor
    id: list[str]
    maps: dict[str, Tensor]


class SegmentationModule(LightningModule):
    """A network that turns raw pixels into a class for each pixel.

    Args:
        classes: ``{"names": [...], "colors": [...], "ignore_index": 255}``; linked from the data.
        in_channels: Channels of an image; linked from the data.
        network: A name that the command networks lists (Unet, DeepLabV3Plus, Segformer, PlainUnet, ...), or your own
            torch.nn.Module as FOLDER.FILE.CLASS.
        encoder: An encoder of SMP (resnet18, mit_b2, ...) or most of timm (tu-...); null for the network's usual one.
        encoder_weights: imagenet to start from pretrained weights, which are downloaded; null for random.
        network_options: Further arguments of the architecture.
        modalities: Channels of each modality, such as [3, 1] for RGB and depth, which then have an encoder each; null
            for one encoder of all channels.
        widths: Channels of single layers, which prune writes into its checkpoint; null for those of the architecture.
        loss: Shares of losses by name: bce, ce, dice, jaccard, tversky, focal, lovasz, ohem, unet, scnp, cldice,
            skeleton_recall, boundary.
        loss_options: Options of these losses by name, such as {tversky: {beta: 0.7}, cldice: {target: vessel}}.
        class_weights: One weight per class in the loss; auto for 1 / sqrt(share) of each class in the
            training pixels, with mean 1 and at most 10.
        optimizer: adam, adamw, sgd, rmsprop, or any name that timm knows.
        lr: Learning rate.
        weight_decay: Of the optimizer.
        optimizer_options: Further arguments of the optimizer.
        schedule: constant, cosine, poly, step or plateau.
        warmup: Share of the steps over which the learning rate rises.
        schedule_options: Further arguments of the schedule.
        layer_decay: Factor on the learning rate from each layer of the encoder to the one below it, such as 0.75;
            null for one rate.
        freeze_encoder: Epochs at the beginning in which the encoder stays as it is.
        ema: Decay of a moving average of the weights, such as 0.999, with which a run validates and writes best.ckpt;
            null for none.
        scores: region, em, or both.
        criterion: What chooses the threshold of a binary task after each validation: dice, iou or v_rand.
        target_class: The class whose dice or iou chooses it; null for the mean over classes.
        threshold: A fixed threshold instead of the chosen one; two classes only.
        smallest_object: Connected pixels of a class other than the first are cleared away below this number;
            null for the one chosen after fit on the best checkpoint, where clearing gains. Validations that choose the
            threshold are without it.
        largest_hole: Connected pixels of the first class are filled up to this number; null as above, and 0 with
            agglomeration, whose closed gaps it would fill.
        tile: Longest side in pixels that goes through the network at once after training; larger images are
            cut into tiles.
        overlap: Share of a tile that it has in common with the next.
        tta: Test-time augmentation: none, flips (mean of 4 mirror images) or d4 (of 8 flips and quarter turns).
        tta_scales: Sizes of the image, as factors, whose probabilities are averaged too; null for [1].
        agglomeration: Mean boundary probability, 0..1, below which two fragments are one object of class 1: objects that
            touch through gaps in their boundary of class 0 are parted (``close_gaps``; 0.6 for membranes); null leaves
            the probabilities as they are. Two classes only.
        channels_last: Memory format; faster on CPUs and GPUs alike.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: dict[str, Any],
        in_channels: int,
        network: str = "Unet",
        encoder: str | None = None,
        encoder_weights: str | None = None,
        network_options: dict[str, Any] | None = None,
        modalities: list[int] | None = None,
        widths: Widths | None = None,
        loss: dict[str, float] | None = None,
        loss_options: dict[str, dict[str, Any]] | None = None,
        class_weights: list[float] | Literal["auto"] | None = None,
        optimizer: str = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        optimizer_options: dict[str, Any] | None = None,
        schedule: str = "cosine",
        warmup: float = 0.0,
        schedule_options: dict[str, Any] | None = None,
        layer_decay: float | None = None,
        freeze_encoder: int = 0,
        ema: float | None = None,
        scores: list[Kind] | None = None,
        criterion: Criterion = "dice",
        target_class: str | None = None,
        threshold: float | None = None,
        smallest_object: int | None = None,
        largest_hole: int | None = None,
        tile: int = 1024,
        overlap: float = 0.25,
        tta: Tta = "none",
        tta_scales: list[float] | None = None,
        agglomeration: float | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        # SMP and timm load slowly, and the help of the command line does not need them
        from segmentation.model.losses.loss import Loss
        from segmentation.model.networks.build import build_network, usual_encoder

        encoder = encoder or usual_encoder(network)  # by name in the checkpoint, should another become usual
        # a checkpoint holds the weights themselves and must load where nothing can be downloaded
        self.save_hyperparameters(ignore="encoder_weights")
        self.classes = Classes.from_dict(classes)
        self.score_kinds: list[Kind] = scores or ["region"]
        check_scores(self.classes, self.score_kinds, criterion, target_class)
        check_optimization(
            optimizer, lr, weight_decay, optimizer_options or {}, schedule, warmup, schedule_options or {}
        )
        outputs = 1 if self.classes.binary else len(self.classes)
        self.network = build_network(
            network, encoder, encoder_weights, in_channels, outputs, network_options or {}, modalities
        )
        set_widths(self.network.network, widths or {})
        self.loss = Loss(loss or _default_loss(self.classes), self.classes, class_weights, loss_options or {})
        self.register_buffer("mean", torch.zeros(in_channels, 1, 1))
        self.register_buffer("std", torch.ones(in_channels, 1, 1))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)
        check_finetuning(self.network.network, network, layer_decay, freeze_encoder)
        check_average(ema)
        self.teaching: Teaching | None = None
        self.train_iou = JaccardIndex(len(self.classes), self.classes.ignore_index)
        self.decision = Decision()
        self.set_inference()
        self.intensity: Intensity | None = None
        self.context = 0
        self.trained_on: dict[str, str] = {}
        self.precision: str | None = None

    def set_inference(self, **options: Any) -> None:
        """Change how the trained network is applied.

        Args:
            options: Any of ``threshold``, ``smallest_object``, ``largest_hole``, ``tile``, ``overlap``, ``tta``,
                ``tta_scales`` and ``agglomeration``, as the arguments of these names.

        Raises:
            InputError: For values outside their range, and for a threshold of more than two classes.
        """
        self.hparams.update(options)
        settings = self.hparams
        decided = self._decided()
        if "threshold" in decided and not self.classes.binary:
            raise InputError(
                f"model.threshold is {settings['threshold']}, but a threshold is for two classes and there are "
                f"{len(self.classes)}; leave it out"
            )
        if not 0 <= decided.get("threshold", 0) <= 1:
            raise InputError(f"model.threshold is {settings['threshold']}; give a probability from 0 to 1")
        for name in DECIDED[1:]:
            if decided.get(name, 0) < 0:
                raise InputError(f"model.{name} is {settings[name]}; give a number of pixels, 0 or more")
        self.decision = replace(self.decision, **decided)
        self.application = application_of(settings, len(self.classes), self.network.fixed)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(B, C, H, W) raw pixels, uint8 or float32 -> logits (B, 1 or K, H, W) of any H, W >= 1.

        In training mode, a network with deep supervision gives a list of such, the finest first.
        """
        normalised = (image.float() - self.mean) / self.std
        logits: Tensor | list[Tensor] = self.network(normalised.contiguous(memory_format=self.memory_format))
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (B, 1 or K, H, W) -> float32 probabilities (B, K, H, W); two planes for a binary task."""
        logits = logits.float()
        # not 1 - sigmoid, which is 0 from a logit of 17 on
        return torch.cat([-logits, logits], dim=1).sigmoid() if self.classes.binary else logits.softmax(dim=1)

    def predict_tile(self, image: Tensor) -> Tensor:
        """Raw pixels that go through the network at once -> probabilities, averaged over ``tta`` and ``tta_scales``.

        Args:
            image: (B, C, h, w) uint8 or float32.

        Returns:
            (B, K, h, w) float32.
        """
        together = TOGETHER.get(image.device.type, 1)
        answer: Tensor = self.application.averaged(
            lambda pixels: self.probabilities(self(pixels)), resized, image, together
        )
        return answer

    def setup(self, stage: str) -> None:
        """Let the loaders make the maps of the loss; take the normalisation from the training images.

        That is done once: a loaded checkpoint keeps its own. DistributedDataParallel refuses to train what has no
        gradient, which is left out.
        """
        if self.loss.maps:
            self._data().maps = self.loss.maps
        if stage != "fit":
            return
        data = self._data()
        if self.intensity is None:
            # of one process, as each reads the files for itself; all must see the same pixels
            mean, std, intensity = self.trainer.strategy.broadcast((*data.statistics(), data.intensity.to_dict()))
            self.mean.copy_(torch.tensor(mean).view_as(self.mean))
            # a constant channel carries nothing; divided by its deviation, 0 but for rounding, it would be NaN or enormous
            spread = [value if value > CONSTANT * abs(centre) else 1.0 for centre, value in zip(mean, std, strict=True)]
            self.std.copy_(torch.tensor(spread).view_as(self.std))
            self.intensity = Intensity.from_dict(intensity)
        if self.hparams["class_weights"] == "auto":
            self.loss.weigh(balanced_weights(self.trainer.strategy.broadcast(data.class_pixels())))
        if isinstance(self.trainer.strategy, DDPStrategy):
            for parameter in unused_parameters(self.network, self.hparams["in_channels"]):
                parameter.requires_grad_(False)
        self.context = data.source.context
        self.trained_on = self.trained_on | data.trained_on()
        self.precision = str(self.trainer.precision)

    def on_fit_start(self) -> None:
        """Say which class weights were chosen; a resumed run has those of its checkpoint by now."""
        chosen = self._chosen_weights()
        if chosen is not None:
            shown = (f"{name} {weight:.3g}" for name, weight in zip(self.classes.names, chosen, strict=True))
            rank_zero_info(f"Class weights: {', '.join(shown)}")

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Loss of a batch."""
        try:
            outputs = self(batch["image"])
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"batch normalisation cannot train on a batch of {len(batch['image'])} here ({error}); "
                "set data.batch_size to 2 or more, or choose another model.network"
            ) from error
        outputs = outputs if isinstance(outputs, list) else [outputs]
        losses = [self.loss(logits, batch["mask"], batch["maps"]) for logits in outputs]
        loss = torch.stack([share * each for share, each in zip(_shares(len(losses)), losses, strict=True)]).sum()
        if self.teaching is not None:
            loss = self.teaching(batch["image"], outputs[0], loss)
        self.train_iou.update(self._labels_at_half(outputs[0].detach()), batch["mask"])
        # never prog_bar=True, for which Lightning waits for the device in every step
        self.log("train/loss", loss, batch_size=len(batch["image"]))
        self.log("train/iou", self.train_iou, on_step=False, on_epoch=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """New scores; in ``fit`` they choose the threshold of two classes, pixel by pixel, unless the user gave one."""
        fits = self.trainer.state.fn == "fit"
        chooses = fits and self.classes.binary and self.hparams["threshold"] is None
        self.stage_scores = self.scores_at(None if chooses else Decision(**self._decided()) if fits else self.decision)

    def on_test_epoch_start(self) -> None:
        """New scores at the stored decision."""
        self.stage_scores = self.scores_at(self.decision)

    def validation_step(self, batch: Batch, _batch_index: int) -> dict[str, Tensor]:
        """Score a batch of whole images; returns their probabilities."""
        return self._evaluate(batch)

    def test_step(self, batch: Batch, _batch_index: int) -> dict[str, Tensor]:
        """Score a batch of whole images; returns their probabilities."""
        return self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Choose the decision, log the scores at it and let a plateau look, before the checkpoint is written."""
        decision, values = self.stage_scores.compute()
        if not self.trainer.sanity_checking:
            self.decision = decision
        self._step_plateau(values)
        self.log_dict({f"val/{name}": value for name, value in values.items()})

    def on_test_epoch_end(self) -> None:
        """Log the scores at the stored decision."""
        _, values = self.stage_scores.compute()
        self.log_dict({f"test/{name}": value for name, value in values.items()})

    def configure_callbacks(self) -> list[Callback]:
        """What ``freeze_encoder`` and ``ema`` need while a fit runs."""
        epochs, decay = self.hparams["freeze_encoder"], self.hparams["ema"]
        if self.trainer.state.fn != "fit":
            return []
        network: Any = self.network.network
        frozen = [FrozenEncoder(network.encoder, epochs)] if epochs else []
        return [*frozen, *([AverageWeights(decay)] if decay is not None else [])]

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule by name."""
        settings = self.hparams
        lr, decay = settings["lr"], settings["layer_decay"]
        options, clips = settings["optimizer_options"] or {}, bool(self.trainer.gradient_clip_val)
        if clips and options.get("fused") and isinstance(self.trainer.precision_plugin, MixedPrecision):
            raise InputError(
                "trainer.gradient_clip_val clips no gradients of a fused optimizer in mixed precision; leave fused out of "
                "model.optimizer_options, or gradient_clip_val"
            )
        optimizer = build_optimizer(
            settings["optimizer"],
            self.parameters() if decay is None else self._rates_by_layer(lr, decay),
            lr,
            settings["weight_decay"],
            options,
            fused=self.device.type == "cuda" and not clips,
        )
        schedule = build_schedule(
            settings["schedule"],
            optimizer,
            self._total_steps(),
            settings["warmup"],
            settings["schedule_options"] or {},
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a schedule; a plateau has looked when the validation ended."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what is not an argument, as plain values."""
        checkpoint["segmentation"] = {
            "format": FORMAT,
            "intensity": None if self.intensity is None else self.intensity.to_dict(),
            "decision": self.decision.to_dict(),
            "precision": self.precision,
            "trained_on": self.trained_on,
            "context": self.context,
            "class_weights": self._chosen_weights(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what ``on_save_checkpoint`` stored; refuse weights of other classes."""
        stored = read_extras(checkpoint)
        check_data(checkpoint, self.classes, self.hparams["in_channels"])
        self.intensity = None if stored["intensity"] is None else Intensity.from_dict(stored["intensity"])
        self.trained_on = stored["trained_on"] | self.trained_on
        self.context = stored.get("context", 0)  # absent before predict asked for neighbours
        self.precision = self.precision or stored["precision"]
        chosen = stored.get("class_weights")  # absent before they could be chosen
        if self.hparams["class_weights"] == "auto" and chosen is not None:
            self.loss.weigh(chosen)
        self.decision = Decision(**stored["decision"])
        self.set_inference()  # what the user gave wins

    def _evaluate(self, batch: Batch) -> dict[str, Tensor]:
        probabilities = tiling.run(self.predict_tile, batch["image"], self.application.tiling)
        logs = probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()
        logits = logs[:, 1:] - logs[:, :1] if self.classes.binary else logs
        losses = [
            self.loss(logits[i], batch["mask"][i], {name: planes[i] for name, planes in batch["maps"].items()})
            for i in (slice(place, place + 1) for place in range(len(logits)))
        ]
        closed = self.application.closed(probabilities)
        self.stage_scores.update(closed, batch["mask"], torch.stack(losses))
        return {"probabilities": closed}

    def _step_plateau(self, scores: dict[str, float]) -> None:
        plateau = self.lr_schedulers()
        if isinstance(plateau, ReduceLROnPlateau):
            # also in the sanity check, so that a wrong name is told before any step
            score = watched(self.hparams["schedule_options"] or {}, scores)
            if not self.trainer.sanity_checking:
                plateau.step(score)

    def _chosen_weights(self) -> list[float] | None:
        weights = self.loss.class_weights
        return weights.tolist() if self.hparams["class_weights"] == "auto" and weights is not None else None

    def scores_at(self, decision: Decision | None) -> Scores:
        """Empty scores of this task at a decision; None for those that choose it."""
        settings = self.hparams
        scores = Scores(self.classes, self.score_kinds, decision, settings["criterion"], settings["target_class"])
        return scores.to(self.device)

    def _labels_at_half(self, logits: Tensor) -> Tensor:
        return (logits[:, 0] > 0).long() if self.classes.binary else logits.argmax(1)

    def _decided(self) -> dict[str, Any]:
        return {name: self.hparams[name] for name in DECIDED if self.hparams[name] is not None}

    def _rates_by_layer(self, lr: float, decay: float) -> list[dict[str, Any]]:
        image = next(self.network.parameters()).new_zeros(1, self.hparams["in_channels"], 1, 1)
        return rates_by_layer(self.network.network, by_first_use(self.network, image), lr, decay)

    def _total_steps(self) -> float:
        # not trainer.estimated_stepping_batches: it makes the loader before a resumed run knows its position
        trainer = self.trainer
        batches = limited(self._data().batches_per_epoch(), trainer.limit_train_batches)
        epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs >= 0 else math.inf
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * epochs
        steps = min(steps, trainer.max_steps) if trainer.max_steps >= 0 else steps
        return steps

    def _data(self) -> Any:
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise InputError("the trainer has no datamodule; pass datamodule=SegmentationDataModule(...)")
        return data


def limited(batches: int, limit: float) -> int:
    """Batches of an epoch under ``trainer.limit_train_batches``: a number, or as float a share."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def _shares(count: int) -> list[float]:
    """1, 1/2, 1/4, ... of the sum: what the outputs of deep supervision count, the finest first.

    As nnU-Net weighs them (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z).
    """
    shares = [0.5**place for place in range(count)]
    return [share / sum(shares) for share in shares]


def _default_loss(classes: Classes) -> dict[str, float]:
    pixelwise: Literal["bce", "ce"] = "bce" if classes.binary else "ce"
    return {pixelwise: 1.0, "dice": 1.0}
