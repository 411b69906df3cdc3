"""V_Rand and V_Info of cross-validations in which the slices that are scored choose nothing.

Each fold's last checkpoint is scored, since the best one was chosen on its slices. Threshold and neighbour weight of a
fold are those with the largest mean V_Rand on the slices of the other folds.

python benchmarks/nested_scores.py runs/isbi/crossval --weights 0 0.3 0.5
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from printing import machine, table

from segmentation.evaluation.scored import predictions, scored_of
from segmentation.metrics.em import THRESHOLDS, slice_scores
from segmentation.model.checkpoint import checkpoints_of

RESAMPLES = 2000


def curves(last: Path, weights: list[float]) -> NDArray[np.float64]:
    """(W, S, 11, 2): both scores of the S slices of a fold for each neighbour weight and threshold."""
    return np.array(
        [
            [
                slice_scores(one.probabilities[1], one.mask == 1)
                for one in predictions(scored_of(last, "val", neighbour_weight=weight or None))
            ]
            for weight in weights
        ]
    )


def nested(folds: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """What each fold scores with what is best on the others.

    Args:
        folds: ``curves`` of each fold, two or more.

    Returns:
        (S of all folds, 2) both scores of each slice; each fold's place of the weight and of the threshold.
    """
    chosen = []
    for place in range(len(folds)):
        others = np.concatenate(folds[:place] + folds[place + 1 :], axis=1).mean(axis=1)[..., 0]
        weight, threshold = np.unravel_index(others.argmax(), others.shape)
        chosen.append((int(weight), int(threshold)))
    return np.concatenate([fold[w, :, t] for fold, (w, t) in zip(folds, chosen, strict=True)]), chosen


def _shown(slices: NDArray[np.float64]) -> list[str]:
    drawn = np.random.default_rng(0).integers(0, len(slices), (RESAMPLES, len(slices)))
    low, high = np.percentile(slices[drawn].mean(axis=1), [2.5, 97.5], axis=0)
    return [f"{mean:.4f} ({a:.3f}-{b:.3f})" for mean, a, b in zip(slices.mean(axis=0), low, high, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of crossval")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0], help="neighbour weights to choose among")
    options = parser.parse_args()
    rows = []
    for run in options.runs:
        folds = [curves(best.with_name("last.ckpt"), options.weights) for best in checkpoints_of(run)]
        ways = [[place] for place in range(len(options.weights))]
        for way in [*ways, *([list(range(len(options.weights)))] if len(ways) > 1 else [])]:
            slices, chosen = nested([fold[way] for fold in folds])
            label = " or ".join(f"{options.weights[place]:g}" for place in way)
            settings = [f"{options.weights[way[w]]:g} at {THRESHOLDS[t]:.1f}" for w, t in chosen]
            rows.append((f"{run}, weight {label}", *_shown(slices), ", ".join(settings)))
    print(table(("last checkpoints", "V_Rand", "V_Info", "weight at threshold of the folds"), rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
