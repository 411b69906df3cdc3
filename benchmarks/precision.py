"""Number format, memory format, compilation and threads: steps a second in training, images a second in inference.

All variants of one network in turns within one process; the first is what torch does when it is told nothing.

    python benchmarks/precision.py --rounds 3
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from printing import machine, ratios, spread, table
from torch import Tensor, nn

from segmentation.model.networks.build import build_network
from segmentation.model.precision import autocast


@dataclass(frozen=True)
class Variant:
    """One way to compute."""

    precision: str = "32-true"
    layout: torch.memory_format = torch.contiguous_format
    compiled: bool = False
    threads: int | None = None

    @property
    def name(self) -> str:
        """What differs from the first one."""
        parts = [
            "float32" if self.precision == "32-true" else self.precision,
            "channels_last" if self.layout is torch.channels_last else "",
            "compiled" if self.compiled else "",
            "" if self.threads is None else f"{self.threads} thread",
        ]
        return ", ".join(filter(None, parts))


LAST = torch.channels_last
VARIANTS = (
    Variant(),
    Variant(layout=LAST),
    Variant("bf16-mixed"),
    Variant("bf16-mixed", LAST),
    Variant("bf16-mixed", LAST, compiled=True),
    Variant(layout=LAST, threads=1),
    Variant("bf16-mixed", LAST, threads=1),
)


def training(variant: Variant, options: argparse.Namespace) -> Callable[[], object]:
    """A step on one batch: forward, cross-entropy, backward, AdamW."""
    network = network_of(variant, options).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    image = torch.randn(options.batch_size, 1, options.crop, options.crop).contiguous(memory_format=variant.layout)
    mask = torch.rand(options.batch_size, 1, options.crop, options.crop).round()

    def step() -> None:
        with autocast(variant.precision, "cpu"):
            logits = network(image)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), mask)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()

    return step


def inference(variant: Variant, options: argparse.Namespace) -> Callable[[], object]:
    """One whole image."""
    network = network_of(variant, options).eval()
    image = torch.randn(1, 1, options.size, options.size).contiguous(memory_format=variant.layout)

    @torch.inference_mode()
    def answer() -> Tensor:
        with autocast(variant.precision, "cpu"):
            logits: Tensor = network(image)
        return logits

    return answer


def network_of(variant: Variant, options: argparse.Namespace) -> nn.Module:
    """With random weights, the same in every variant."""
    torch.manual_seed(0)
    network = build_network("Unet", options.encoder, None, 1, 1, {}).to(memory_format=variant.layout)
    if variant.compiled:
        network.compile()
    return network


def measured(variants: list[Variant], of: Callable[..., Callable[[], object]], options: argparse.Namespace) -> str:
    """The table of one kind of work; what cannot be run is left out and named below."""
    work: dict[Variant, Callable[[], object]] = {}
    warmups, failures, threads = {}, [], torch.get_num_threads()
    for variant in variants:
        began = time.perf_counter()
        try:
            run = of(variant, options)
            run()
        except Exception as error:  # a compiler that is missing fails in many ways
            failures.append(f"{variant.name}: {type(error).__name__}, {str(error).splitlines()[0]}")
        else:
            work[variant], warmups[variant] = run, time.perf_counter() - began
    rates: dict[Variant, list[float]] = {variant: [] for variant in work}
    for turn in range(options.rounds):
        for variant in list(work) if turn % 2 == 0 else list(work)[::-1]:
            torch.set_num_threads(variant.threads or threads)
            work[variant]()
            began = time.perf_counter()
            for _ in range(options.repeats):
                work[variant]()
            rates[variant].append(options.repeats / (time.perf_counter() - began))
            torch.set_num_threads(threads)
    first = rates[variants[0]]
    rows = [
        (variant.name, ratios(rates[variant], first), spread(rates[variant]), f"{warmups[variant]:.1f}")
        for variant in work
    ]
    lines = table(("variant", "times the first", "a second", "first one, s"), rows)
    return "\n\n".join([lines, *(f"Not run: {failure}" for failure in failures)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--size", type=int, default=512, help="of the image in inference")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="in a round")
    parser.add_argument("--no_compile", action="store_true")
    options = parser.parse_args()
    variants = [variant for variant in VARIANTS if not (variant.compiled and options.no_compile)]
    print("## Precision, memory format, threads\n")
    print(f"Training steps of {options.batch_size}x{options.crop}x{options.crop}:\n")
    print(measured(variants, training, options))
    print(f"\nInference, images of {options.size}x{options.size}:\n")
    print(measured(variants, inference, options))
    print(
        f"\nUnet({options.encoder}), {options.rounds} rounds of {options.repeats}, medians (lowest to highest), in turns. "
        f"{machine()}"
    )


if __name__ == "__main__":
    main()
