"""Consecutive pages of one file are found among samples."""

from pathlib import Path

from segmentation.data.sample import Part, Sample, stacks


def page(name: str, *numbers: int | None) -> Sample:
    return Sample(f"{name}-{numbers}", tuple(Part(Path(name), number) for number in numbers))


def test_consecutive_pages_are_together() -> None:
    samples = [page("a", 0), page("a", 1), page("a", 3), page("a", 4), page("b", 5), page("b", 6), page("c", None)]
    assert [len(stack) for stack in stacks(samples)] == [2, 2, 2, 1]
    assert [sample for stack in stacks(samples) for sample in stack] == samples
    assert stacks([]) == []


def test_files_of_one_image_are_by_themselves() -> None:
    assert [len(stack) for stack in stacks([page(name, None) for name in ("a", "b", "b")])] == [1, 1, 1]


def test_samples_that_are_drawn_have_no_neighbours() -> None:
    assert [len(stack) for stack in stacks([Sample("a", ()), Sample("b", ()), page("c", 0)])] == [1, 1, 1]


def test_slices_with_their_neighbours_as_channels_count_by_the_middle_one() -> None:
    assert [len(stack) for stack in stacks([page("a", 0, 0, 1), page("a", 0, 1, 2), page("a", 1, 2, 2)])] == [3]
