"""What is wrong with a data set: a fault, the files that show it, and the cure; all of them in one message."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segmentation.data.sample import Sample
from segmentation.errors import InputError

SHOWN = 10
"""Files named in a message; a report has them all."""

LISTED = 20
"""Problems in a message; ``DataError.problems`` has them all."""


@dataclass(frozen=True)
class Problem:
    """One fault of a data set.

    Attributes:
        fault: What is wrong, without a file's name.
        files: All that show it.
        cure: What to do, as a sentence; empty where the fault says it.
    """

    fault: str
    files: tuple[str, ...] = ()
    cure: str = ""

    def __str__(self) -> str:
        more = f" and {len(self.files) - SHOWN} more" if len(self.files) > SHOWN else ""
        named = ", ".join(self.files[:SHOWN]) + more
        cure = f". {self.cure[:1].upper()}{self.cure[1:]}" if self.cure else ""
        return (f"{named}: " if len(self.files) <= 1 and named else "") + (
            f"{self.fault}{cure}" if len(self.files) <= 1 else f"{len(self.files)} files: {self.fault}: {named}{cure}"
        )


class FileError(InputError):
    """One file cannot be used.

    Args:
        file: Its path, with the page of a stack.
        fault: What is wrong, as a predicate: ``is empty (0 bytes)``.
        cure: What to do.
    """

    def __init__(self, file: object, fault: str, cure: str) -> None:
        super().__init__(f"{file} {fault}; {cure}")
        self.file, self.fault, self.cure = str(file), fault, cure

    def __reduce__(self) -> tuple[type["FileError"], tuple[str, str, str]]:
        return type(self), (self.file, self.fault, self.cure)


class DataError(InputError):
    """All that is wrong with a data set.

    Args:
        problems: At least one.
        samples: Those that are in order, for a report on the rest.
    """

    def __init__(self, problems: Sequence[Problem], samples: Sequence[Sample] = ()) -> None:
        more = [f"... and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        lines = [f"{len(problems)} problems in the data:", *map(str, problems[:LISTED]), *more]
        super().__init__(str(problems[0]) if len(problems) == 1 else "\n  ".join(lines))
        self.problems = tuple(problems)
        self.samples = tuple(samples)


def grouped(errors: Iterable[InputError]) -> list[Problem]:
    """One problem for each fault, in the order of their first files."""
    files: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        if isinstance(error, FileError):
            files.setdefault((error.fault, error.cure), []).append(error.file)
        else:
            files.setdefault((str(error), ""), [])
    return [Problem(fault, tuple(names), cure) for (fault, cure), names in files.items()]
