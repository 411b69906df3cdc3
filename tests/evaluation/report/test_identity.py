"""Digests, and how labels were made."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segmentation.evaluation.report import identity
from segmentation.inference.decision import Decision


def scored(**digests: str) -> Any:
    return SimpleNamespace(digests=digests)


def test_the_digest_is_of_the_samples_wherever_they_lie() -> None:
    whole = identity.data_digest([scored(a="1", b="2", c="3")])
    assert identity.data_digest([scored(c="3"), scored(b="2", a="1")]) == whole
    assert identity.data_digest([scored(a="1", b="2", c="4")]) != whole
    assert identity.data_digest([scored(a="1", b="2")]) != whole


def test_the_hash_of_a_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert identity.sha256(tmp_path / "file").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1


def test_the_decisions_of_folds_are_one_line() -> None:
    def fold(threshold: float, hole: int) -> Any:
        settings = {"agglomeration": 0.6, "tta": "none", "tta_scales": None}
        predictor = SimpleNamespace(
            classes=SimpleNamespace(binary=True),
            decision=Decision(threshold, 0, hole),
            tiling=SimpleNamespace(tile=1024),
            neighbour_weight=0.3,
        )
        return SimpleNamespace(module=SimpleNamespace(hparams=settings), predictor=predictor, instances="components")

    told = identity._decisions([fold(0.59, 128), fold(0.5352, 0), fold(0.59, 128)])
    assert told == (
        "threshold 0.59 / 0.5352, largest hole 128 pixels / 0, tile 1024 pixels, agglomeration 0.6, "
        "neighbouring slices 0.3, test-time augmentation none"
    )
