"""The data of a config, as ``fit`` has them, without a model or a command line."""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, get_loader

from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.source import known_sources
from segmentation.errors import InputError


def data_of(config: Path, **overrides: Any) -> SegmentationDataModule:
    """The datamodule of a config of ``fit``, or of the config.yaml of a run.

    Args:
        config: YAML; what it says about the model and the trainer is left aside.
        overrides: Arguments of the datamodule instead of the config's, such as ``fold=2``.

    Raises:
        InputError: When the file cannot be read, names no data set, or has an argument that is unknown or wrong.
    """
    known_sources()  # imported, a source is known by the name of its class
    content = _read(config)
    parser = _parser()
    parser.add_argument("--seed_everything", type=bool | int, default=0)
    given = {name: content[name] for name in ("seed_everything", "data") if content.get(name) is not None}
    try:
        parsed = parser.parse_object(given | {"data": given.get("data", {}) | overrides})
    except ArgumentError as error:
        raise InputError(f"{config}: {error}") from error
    if parsed.data.seed is None:
        parsed.data.seed = int(parsed.seed_everything)
    return build(parsed.data)


def build(arguments: Namespace) -> SegmentationDataModule:
    """The datamodule of its parsed arguments, those under ``data`` in a config."""
    data: SegmentationDataModule = _parser().instantiate(Namespace(data=arguments)).data  # type: ignore[no-untyped-call] # jsonargparse's
    return data


def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SegmentationDataModule, "data")
    return parser


def _read(config: Path) -> dict[str, Any]:
    try:
        content = get_loader("yaml")(config.read_text(encoding="utf-8"))  # its 1e-3 is a number, PyYAML's is none
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the config {config} cannot be read ({reason}); give a YAML file") from error
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise InputError(f"the config {config} has no section data; give a config of fit, or the config.yaml of a run")
    return content
