"""Whose scores these are: the data, the checkpoint, its config, the machine and the versions."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from segmentation.callbacks.runs import SPLIT, config_beside, run_of
from segmentation.evaluation.provenance import provenance
from segmentation.evaluation.scored import Scored

ESSENTIAL = (
    *("model.network", "model.encoder", "model.encoder_weights", "model.loss", "model.optimizer", "model.lr"),
    *("model.schedule", "data.crop", "data.batch_size", "data.samples_per_epoch", "data.augment", "data.intensity"),
    *("trainer.max_epochs", "trainer.precision", "seed_everything"),
)
"""Of a config, what a reader asks first."""

Facts = dict[str, str]
"""Label -> text."""


def identity(scored: Sequence[Scored], command: str) -> dict[str, Facts]:
    """Everything that a reader of the scores needs to get them again, by section.

    Args:
        scored: Samples and checkpoints.
        command: That made the report.
    """
    first = scored[0]
    device = first.module.device
    return {
        "Data": _data(scored),
        "Checkpoint": {
            one.name if len(scored) > 1 else "file": f"{one.ckpt_path}, {_written(one.ckpt_path)}, "
            f"sha256 {sha256(one.ckpt_path)[:16]}"
            for one in scored
        }
        | {"decision": _decisions(scored)},
        "Training": _training(first),
        "Made": {
            "command": command,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            **provenance("torch", "lightning", "segmentation-models-pytorch", "numpy", "scikit-image"),
        },
    }


def data_digest(scored: Sequence[Scored]) -> str:
    """Hash of the samples' ids and pixels: the same for the same samples, wherever they lie and in whatever order."""
    lines = sorted(f"{key} {digest}" for one in scored for key, digest in one.digests.items())
    return hashlib.blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _data(scored: Sequence[Scored]) -> Facts:
    first = scored[0]
    source = _content(first.config).get("data", {}).get("source", {})
    root = source.get("init_args", {}).get("root") if isinstance(source, dict) else None
    count = sum(len(one.ids) for one in scored)
    own = [run_of(one.ckpt_path) / SPLIT for one in scored if one.config == config_beside(one.ckpt_path)]
    kept = [path for path in own if path.is_file()]
    facts = {
        "source": type(first.data.source).__name__ + (f", {root}" if root else ""),
        "samples": f"{count}, the {first.split} set"
        + (f" of each of {len(scored)} folds" if len(scored) > 1 else "")
        + f" ({', '.join(f'{len(ids)} {name}' for name, ids in first.data.split.items())})",
        "classes": ", ".join(first.predictor.classes.names),
        "config": ", ".join(str(one.config) for one in scored),
        "digest of ids and pixels": data_digest(scored),
    }
    return facts | ({"split": ", ".join(map(str, kept))} if kept else {})


def _decisions(scored: Sequence[Scored]) -> str:
    """How labels are made of probabilities; what differs between folds is given for each of them."""
    decisions = [_decision(one) for one in scored]
    names = dict.fromkeys(name for decision in decisions for name in decision)
    values = {name: dict.fromkeys(decision.get(name, "0") for decision in decisions) for name in names}
    return ", ".join(f"{name} {' / '.join(values[name])}".rstrip() for name in names)


def _decision(one: Scored) -> dict[str, str]:
    settings, decision = one.module.hparams, one.predictor.decision
    binary, weight, level = one.predictor.classes.binary, one.predictor.neighbour_weight, settings["agglomeration"]
    pixels = {
        "smallest object": decision.smallest_object,
        "largest hole": decision.largest_hole,
        "tile": one.predictor.tiling.tile,
    }
    views = [settings["tta"], *(f"scale {scale:g}" for scale in settings["tta_scales"] or [])]
    return {
        **({"threshold": f"{decision.threshold:.4g}"} if binary else {"most probable class": ""}),
        **{name: f"{value} pixels" for name, value in pixels.items() if value},
        **({} if level is None else {"agglomeration": f"{level:g}"}),
        **({} if weight is None else {"neighbouring slices": f"{weight:g}"}),
        "test-time augmentation": ", ".join(views),
        **({} if one.instances == "components" else {"instances": one.instances}),
    }


def _training(one: Scored) -> Facts:
    """From the config of the run; of the model what the checkpoint knows, as the run may have gone on with other arguments."""
    config = config_beside(one.ckpt_path)
    content = {} if config is None else _content(config)
    content["model"] = content.get("model", {}) | dict(one.module.hparams)
    found = {}
    for key in ESSENTIAL:
        value: Any = content
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            shown = ", ".join(f"{name} {share}" for name, share in value.items()) if isinstance(value, dict) else value
            found[key] = str(shown)
    return found


def _content(config: Path) -> dict[str, Any]:
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(sep=" ", timespec="seconds")
