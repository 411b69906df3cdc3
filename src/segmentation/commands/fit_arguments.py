"""The arguments of a ``fit`` for commands that check or repeat it."""

from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace

from segmentation.callbacks import runs
from segmentation.cli import SegmentationCLI
from segmentation.errors import InputError


class FitArguments(SegmentationCLI):
    """The arguments of a ``fit``, read and checked as it does; nothing is built or run.

    Args:
        args: As on the command line, without the command.

    Attributes:
        parent: ``runs/<config name>``, where the run would go.

    Raises:
        InputError: For an argument that is unknown, missing or wrong.
    """

    def __init__(self, args: list[str]) -> None:
        super().__init__(["fit", *args])

    @property
    def resolved(self) -> Namespace:
        """Every argument of ``fit``."""
        arguments: Namespace = self.config.fit
        return arguments

    def plain(self) -> dict[str, Any]:
        """The same as the config.yaml of the run would have it."""
        content: dict[str, Any] = yaml.safe_load(runs.config_text(self._parser("fit"), self.resolved))
        return content

    def completed(self, stored: dict[str, Any]) -> dict[str, Any]:
        """A config.yaml with the arguments that came after the version which wrote it, at their defaults."""
        parser = self._parser("fit")
        try:
            content: dict[str, Any] = yaml.safe_load(runs.config_text(parser, parser.parse_object(stored)))
        except ArgumentError:  # it has some that are gone since
            return stored
        return content

    def check(self, arguments: dict[str, Any]) -> None:
        """Raise InputError where ``fit`` would refuse arguments like those of ``plain``."""
        try:
            self._parser("fit").parse_object(arguments)
        except ArgumentError as error:
            raise InputError(str(error)) from error

    def before_instantiate_classes(self) -> None:
        """The seed of the data, as ``fit`` has it."""
        if self.resolved.data.seed is None:
            self.resolved.data.seed = self.resolved.seed_everything

    def _parse_ckpt_path(self) -> None:
        """Left as it is given."""

    def _set_seed(self) -> None:
        """Nothing is drawn."""

    def instantiate_classes(self) -> None:
        """Nothing is built."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""
