"""One image and its mask, by where they lie."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """Where pixels lie: a file, or one page (from 0) of a multi-page file."""

    path: Path
    page: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.page is None else f"{self.path} page {self.page}"


@dataclass(frozen=True)
class Sample:
    """One image and, where it is labelled, its mask.

    Attributes:
        id: Unique in its source and stable over machines; predictions and splits are keyed by it.
        images: One part, or several that are stacked to channels in this order.
        masks: The labels: none, one part, or one part for each class.
        group: Samples of one group (a patient, a volume, a scene) never straddle a split.
    """

    id: str
    images: tuple[Part, ...]
    masks: tuple[Part, ...] = ()
    group: str | None = None


def with_neighbours(path: Path, page: int, count: int, context: int) -> tuple[Part, ...]:
    """A page of a stack between its neighbours; the first and last page stand in for those beyond the ends.

    Args:
        path: Of the stack.
        page: From 0.
        count: Pages of the stack.
        context: Neighbours on each side.
    """
    return tuple(Part(path, min(max(index, 0), count - 1)) for index in range(page - context, page + context + 1))


def stacks(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Samples in their order, those that are consecutive pages of one file together."""
    found: list[list[Sample]] = []
    page: Part | None = None
    for sample in samples:
        # of several parts, such as the neighbours that are its channels, the middle one is the sample itself
        part = sample.images[len(sample.images) // 2] if sample.images else None
        if page is not None and page.page is not None and part == Part(page.path, page.page + 1):
            found[-1].append(sample)
        else:
            found.append([sample])
        page = part
    return found
