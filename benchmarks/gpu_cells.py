"""The cells of ``gpu.py``: what a way of training or inference does in a step, and how fast it is."""

import contextlib
import io
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from gpu_cases import Case, images_of, random_batch
from gpu_marks import StepClock, mark, rates, seconds_between
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import segmentation
from segmentation.__main__ import main as command
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.sources.folder import FolderSource
from segmentation.inference.classes import Classes
from segmentation.model.module import SegmentationModule
from segmentation.model.optimization import build_optimizer
from segmentation.model.precision import autocast, default_precision

SMALL = {"width": 4}
"""Options of the PlainUnet of a tiny run."""

WARMUP = 20
"""Steps before the clock starts: cuDNN tries its algorithms, the loader fills its queue."""

Step = Callable[[], object]
Cell = dict[str, Any]


@dataclass
class Bench:
    """What the cells share.

    Attributes:
        device: cuda or cpu.
        tiny: A few steps of each, to see that everything runs.
        out: Folder of the profile.
        scratch: Folder for images and runs.
    """

    device: str
    tiny: bool
    out: Path
    scratch: Path
    step_seconds: dict[Case, float] = field(default_factory=dict)
    ckpt_path: Path | None = None

    def __post_init__(self) -> None:
        self.warmup = 2 if self.tiny else WARMUP
        self.seconds = 0.0 if self.tiny else 3.0
        self.precision = "32-true" if self.tiny else default_precision(self.device)
        self.backend = "eager" if self.tiny else "inductor"

    def measure(self, case: Case, way: str) -> Cell:
        """Run a cell: images_per_s, step_ms (10 %, 50 % and 90 % of the steps), gib, and what else the way has."""
        kind, compiled = way.removesuffix(" compiled"), way.endswith(" compiled")
        ways: dict[str, Callable[[], Cell]] = {
            "ceiling": lambda: self._steps(case, self._synthetic_step(case, compiled)),
            "inference": lambda: self._steps(case, self._inference(case, compiled)),
            "fit": lambda: self._fit(case, compiled),
            "bare loop": lambda: self._bare_loop(case),
            "loader": lambda: self._loader_alone(case),
            "naive": lambda: self._steps(case, self._naive_step(case)),
            "naive inference": lambda: self._steps(case, self._naive_inference(case)),
            "predictor": lambda: self._predictor(case),
            "parts": lambda: self._parts(case),
            "profile": lambda: self._profile(case),
        }
        torch.backends.cudnn.benchmark = not kind.startswith("naive")
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        cell = ways[kind]()
        if way == "ceiling":
            self.step_seconds[case] = case.batch / cell["images_per_s"]
        if self.device == "cuda":
            cell["gib"] = torch.cuda.max_memory_allocated() / 2**30
        return cell | {"wall_s": time.perf_counter() - began}

    def flops(self, case: Case) -> dict[str, float]:
        """Of an image, in training and in inference, by torch's counter."""
        image, mask = (part.to(self.device) for part in random_batch(replace(case, batch=2)))
        counts = {}
        for training in (True, False):
            module = self._module(case).train(training)
            with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
                logits = module(image)
                if training:
                    module.loss(logits, mask.long(), {}).backward()
            counts["training" if training else "inference"] = counter.get_total_flops() / 2
        return counts

    def _module(self, case: Case, channels_last: bool = True) -> SegmentationModule:
        torch.manual_seed(0)
        classes = Classes(("background", "foreground")).to_dict()
        small = SMALL if self.tiny else None
        module = SegmentationModule(
            classes, case.channels, case.network, case.encoder, network_options=small, channels_last=channels_last
        )
        return module.to(self.device)

    def _compiled(self, module: SegmentationModule, compiled: bool) -> SegmentationModule:
        if compiled:
            torch.compiler.reset()
            module.network.compile(backend=self.backend)
        return module

    def _synthetic_step(self, case: Case, compiled: bool) -> Step:
        image, mask = (part.to(self.device) for part in random_batch(case))
        truth = mask.long()
        return self._step(self._compiled(self._module(case), compiled), lambda: (image, truth))

    def _step(self, module: SegmentationModule, batch: Callable[[], tuple[Tensor, Tensor]]) -> Step:
        optimizer = self._optimizer(module)

        def step() -> None:
            image, mask = batch()
            with autocast(self.precision, self.device):
                loss = module.loss(module(image), mask, {})
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def _optimizer(self, module: SegmentationModule) -> torch.optim.Optimizer:
        return build_optimizer("adamw", module.parameters(), 1e-3, 1e-2, {}, fused=True)

    def _inference(self, case: Case, compiled: bool) -> Step:
        module = self._compiled(self._module(case).eval(), compiled)
        image = random_batch(case)[0].to(self.device)

        def infer() -> Tensor:
            with torch.inference_mode(), autocast(self.precision, self.device):
                return module.probabilities(module(image))

        return infer

    def _naive_step(self, case: Case) -> Step:
        module = self._module(case, channels_last=False)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
        image, mask = random_batch(case)
        pixels, truth = image.float(), mask.long()

        def step() -> float:
            optimizer.zero_grad()
            loss = module.loss(module(pixels.to(self.device)), truth.to(self.device), {})
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    def _naive_inference(self, case: Case) -> Step:
        module = self._module(case, channels_last=False).eval()
        pixels = random_batch(case)[0].float()

        def infer() -> Tensor:
            with torch.no_grad():
                return module.probabilities(module(pixels.to(self.device))).cpu()

        return infer

    def _bare_loop(self, case: Case) -> Cell:
        steps = self._count(case)
        batches = self._batches(case, self.warmup + steps)

        def batch() -> tuple[Tensor, Tensor]:
            loaded = next(batches)
            image, mask = (loaded[name].to(self.device, non_blocking=True) for name in ("image", "mask"))
            return image, mask.long()

        return rates(case.batch, self._marks(self._step(self._module(case), batch), steps))

    def _loader_alone(self, case: Case) -> Cell:
        batches = self._batches(case, self.warmup + self._count(case))
        for _ in range(self.warmup):
            next(batches)
        marks = [time.perf_counter()]
        marks.extend(time.perf_counter() for _ in batches)
        return rates(case.batch, marks)

    def _batches(self, case: Case, steps: int) -> Iterator[Any]:
        data = SegmentationDataModule(
            FolderSource(images_of(case, self.scratch), in_channels=case.channels),
            crop=case.size,
            batch_size=case.batch,
            samples_per_epoch=steps * case.batch,
            augment=case.augment,
        )
        data.setup("fit")
        return iter(data.train_dataloader())

    def _fit(self, case: Case, compiled: bool, profile: Path | None = None) -> Cell:
        steps = 6 if profile else self._count(case)
        folder = self.scratch / f"run{time.monotonic_ns()}"
        clock = {"warmup": self.warmup, "profile": profile and str(profile)}
        callbacks: list[Any] = [{"class_path": "gpu_marks.StepClock", "init_args": clock}]
        if compiled:  # as --compile has it, with the backend of this run
            compiles = "segmentation.callbacks.compilation.CompiledTraining"
            callbacks.append({"class_path": compiles, "init_args": {"backend": self.backend}})
        arguments: dict[str, object] = {
            "data.source": "FolderSource",
            "data.source.root": images_of(case, self.scratch),
            "data.source.in_channels": case.channels,
            "data.crop": case.size,
            "data.batch_size": case.batch,
            "data.samples_per_epoch": (self.warmup + steps) * case.batch,
            "data.augment": case.augment,
            "model.network": case.network,
            "model.encoder": case.encoder or "null",
            "model.network_options": json.dumps(SMALL) if self.tiny else "null",
            "trainer.max_epochs": 1,
            "trainer.limit_val_batches": 0,
            "trainer.num_sanity_val_steps": 0,
            "trainer.accelerator": self.device,
            "trainer.devices": 1,
            "trainer.precision": self.precision,
            "trainer.callbacks": json.dumps(callbacks),
            "run_folder": folder,
        }
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = command(["fit", *(f"--{name}={value}" for name, value in arguments.items())])
        if status:
            raise RuntimeError(said.getvalue().strip().splitlines()[-1])
        self.ckpt_path = folder / "checkpoints" / "last.ckpt"
        return rates(case.batch, StepClock.marks)

    def _profile(self, case: Case) -> Cell:
        self._fit(case, compiled=False, profile=self.out / "profile.txt")
        return {}  # the profiler slows the steps down

    def _predictor(self, case: Case) -> Cell:
        """Whole images one by one, from an array to an array of probabilities."""
        if self.ckpt_path is None:
            raise RuntimeError("no fit has left a checkpoint")
        predictor = segmentation.load(self.ckpt_path, device=self.device)
        image = random_batch(replace(case, batch=1))[0][0].permute(1, 2, 0).numpy()
        return self._steps(replace(case, batch=1), lambda: predictor.probabilities(image))

    def _parts(self, case: Case) -> Cell:
        """Milliseconds of each part of a step, median of the second half of the steps."""
        module = self._module(case)
        optimizer = self._optimizer(module)
        pinned = [part.pin_memory() if self.device == "cuda" else part for part in random_batch(case)]
        marks: dict[str, list[Any]] = {}

        def end(part: str) -> None:
            marks.setdefault(part, []).append(mark(self.device))

        for _ in range(self.warmup):
            end("before")
            image, mask = (part.to(self.device, non_blocking=True) for part in pinned)
            truth = mask.long()
            end("transfer")
            with autocast(self.precision, self.device):
                logits = module(image)
                end("forward")
                loss = module.loss(logits, truth, {})
                end("loss")
            module.train_iou.update((logits.detach()[:, 0] > 0).long(), truth)
            end("scores")
            loss.backward()
            end("backward")
            optimizer.step()
            end("optimizer")
            optimizer.zero_grad()
        steps = [seconds_between(list(ends)) for ends in zip(*marks.values(), strict=True)]
        taken = zip(list(marks)[1:], zip(*steps[len(steps) // 2 :], strict=True), strict=True)
        return {"parts_ms": {part: 1e3 * statistics.median(seconds) for part, seconds in taken}}

    def _count(self, case: Case) -> int:
        """Steps of a cell whose number is fixed before it runs: twice its seconds, so that the queue counts little."""
        return 3 if self.tiny else min(400, max(60, int(2 * self.seconds / self.step_seconds.get(case, 0.1))))

    def _steps(self, case: Case, step: Step) -> Cell:
        """Rates of a step that is run for some seconds, and the seconds of its first call."""
        marks = self._marks(step, 1, warmup=0)
        first = sum(seconds_between(marks))
        once = statistics.median(seconds_between(self._marks(step, 3)))
        count = max(3, min(300, int(self.seconds / once)))
        return rates(case.batch, self._marks(step, count, warmup=0)) | {"first_s": first}

    def _marks(self, step: Step, count: int, warmup: int | None = None) -> list[Any]:
        for _ in range(self.warmup if warmup is None else warmup):
            step()
        marks = [mark(self.device)]
        for _ in range(count):
            step()
            marks.append(mark(self.device))
        return marks
