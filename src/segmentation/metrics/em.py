"""V_Rand and V_Info, the scores of the ISBI 2012 challenge for membranes in electron microscopy.

They compare segments, not pixels: the width of a membrane hardly matters to them, a gap in it does. Formulas:
Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import label
from skimage.segmentation import watershed
from torch import Tensor
from torchmetrics import Metric

from segmentation.errors import InputError
from segmentation.inference.decision import Decision
from segmentation.metrics.objects import overlaps

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The thresholds over which the challenge takes the maximum."""


def v_scores(truth: NDArray[np.integer[Any]], cell: NDArray[np.bool_]) -> tuple[float, float]:
    """V_Rand and V_Info of one proposal for one slice.

    With ``n`` pixels where ``truth != 0``, ``p_ij`` the share of them in true segment i and proposed segment j,
    ``a_i`` and ``b_j`` the sums of its rows and columns, and each pixel on a dam a proposed segment of its own
    (``p = b = 1 / n``)::

        V_Rand = 2 sum p_ij^2 / (sum a_i^2 + sum b_j^2)
        V_Info = 2 I / (H(A) + H(B)),    I = H(A) + H(B) - H(A, B)

    ``V_Info`` is the harmonic mean of ``I / H(A)`` (precision) and ``I / H(B)`` (recall). Arganda-Carreras et al.
    2015, doi:10.3389/fnana.2015.00142. The ends of the range are:

    * all cell: one segment, ``V_Info = 0``; ``V_Rand = 2 A / (A + 1)`` with ``A = sum a_i^2``, 0.078 on ISBI 2012;
    * no cell: every pixel is a segment, ``V_Rand = 2 / (n A + 1)``, nearly 0, but
      ``V_Info = 2 H(A) / (H(A) + ln n)``, 0.47 on ISBI 2012;
    * one true segment (``H(A) = 0``): ``V_Info = 1`` if the proposal is one segment there too, else 0.

    Args:
        truth: (H, W) true segments as from ``true_segments``; pixels of 0 (membrane, ignored) are not counted.
        cell: (H, W) bool, the proposed cell pixels; membrane elsewhere.

    Returns:
        ``(V_Rand, V_Info)``, each in 0..1; 1 is perfect.

    Raises:
        ValueError: When no pixel of ``truth`` is counted.
    """
    counted = truth != 0
    if not counted.any():
        raise ValueError("no pixel of this slice is true cell, so V_Rand and V_Info are undefined; leave it out")
    return _v_scores(truth[counted], proposed_segments(cell)[counted])


def true_segments(cell: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The 4-connected components of the true cell pixels: (H, W) bool -> (H, W) 1, 2, ..., and 0 elsewhere."""
    segments: NDArray[np.int32] = label(cell, connectivity=1).astype(np.int32, copy=False)
    return segments


def proposed_segments(cell: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The cells of a proposal, grown into its membranes until dams of one pixel remain.

    A watershed with 4-connectivity, so that the width of a membrane does not count.

    Args:
        cell: (H, W) bool.

    Returns:
        (H, W) segments 1, 2, ..., and 0 on the dams; 0 everywhere without any cell.
    """
    markers = true_segments(cell)
    segments: NDArray[np.int32] = watershed(~cell, markers=markers, connectivity=1, watershed_line=True)
    return segments


def _v_scores(truth: NDArray[np.integer[Any]], proposal: NDArray[np.int32]) -> tuple[float, float]:
    """The scores from the labels of the counted pixels, both (n,)."""
    n = truth.size
    rows, columns, joint = overlaps(truth, proposal)
    inside = columns > 0
    p = joint[inside]
    a = np.bincount(rows, weights=joint)
    b = np.bincount(columns[inside], weights=p)
    dams = n - float(p.sum())

    v_rand = 2 * (p @ p + dams) / (a @ a + b @ b + dams)

    h_dams = dams / n * math.log(n)
    h_a, h_b, h_ab = _entropy(a / n), _entropy(b / n) + h_dams, _entropy(p / n) + h_dams
    if h_a <= 0 or h_b <= 0:
        return float(v_rand), float(h_a <= 0 and h_b <= 0)
    return float(v_rand), max(0.0, 2 * (h_a + h_b - h_ab) / (h_a + h_b))


def _entropy(shares: NDArray[np.float64]) -> float:
    shares = shares[shares > 0]
    return -float(shares @ np.log(shares))


class _SegmentScore(Metric):
    """Sums over slices of both scores at every threshold, so that VRand and VInfo share one update.

    Args:
        decision: One fixed beforehand, whose labels are scored beside the eleven thresholds of the challenge.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    _column: int
    sums: Tensor
    count: Tensor

    def __init__(self, decision: Decision | None = None) -> None:
        super().__init__()
        self.decision = decision
        rows = len(THRESHOLDS) + (decision is not None)
        self.add_state("sums", torch.zeros(rows, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, mask: Tensor) -> None:
        """Score slices, each on its own. Takes 0.3 to 0.5 s of one CPU core a slice of 512x512, on all of torch's threads.

        Args:
            probabilities: (B, 2, H, W) float in 0..1 on any device; class 1 is cell, and a pixel is cell where
                its probability, as float32, is greater than the threshold.
            mask: (B, H, W) int64; 1 is cell, all else (0 membrane, 255 ignore) is not counted and separates cells.
                A slice without any cell adds nothing.

        Raises:
            InputError: When there are not two classes.
            ValueError: When probabilities and mask differ in size.
        """
        if probabilities.shape[1] != 2:
            raise InputError(
                f"EM scores compare cells parted by membranes and need the two classes [membrane, cell]; "
                f"this task has {probabilities.shape[1]}. Leave 'em' out of the scores"
            )
        if probabilities[:, 1].shape != mask.shape:
            raise ValueError(f"probabilities {tuple(probabilities.shape)} and mask {tuple(mask.shape)} differ in size")
        self.sums = self.sums.double()  # Trainer(precision="bf16-true") casts the states too
        maps = probabilities.detach().float().cpu().numpy()
        for planes, cell in zip(maps, (mask == 1).cpu().numpy(), strict=True):
            if cell.any():
                decided = None if self.decision is None else self.decision.labels(planes) == 1
                scores = slice_scores(planes[1], cell, decided)
                self.sums += torch.from_numpy(scores).to(self.sums.device)
                self.count += 1

    def compute(self) -> Tensor:
        """The official score: the maximum over the eleven thresholds of the mean over slices; NaN without slices."""
        return self._means()[: len(THRESHOLDS)].max()

    def at(self, threshold: float) -> Tensor:
        """The mean over slices at one of ``THRESHOLDS``, over all processes; NaN without slices.

        Raises:
            ValueError: When it was not scored.
        """
        if threshold not in THRESHOLDS:
            raise ValueError(f"{threshold} was not scored; {type(self).__name__} has {THRESHOLDS}")
        with self._synced():
            return self._means()[THRESHOLDS.index(threshold)]

    def at_decision(self) -> Tensor:
        """The mean over slices of the labels of the decision, over all processes; NaN without slices.

        Raises:
            ValueError: When no decision was given.
        """
        if self.decision is None:
            raise ValueError(f"{type(self).__name__} was made without a decision, so its labels were not scored")
        with self._synced():
            return self._means()[-1]

    def best_threshold(self) -> float:
        """The threshold of the official score, over all processes; NaN without slices.

        Of neighbouring thresholds that score the same, the middle one (the lower of two).
        """
        with self._synced():
            means = self._means()[: len(THRESHOLDS)].tolist()
        if math.isnan(means[0]):
            return math.nan
        first = last = means.index(max(means))
        while last + 1 < len(means) and means[last + 1] == means[first]:
            last += 1
        return THRESHOLDS[(first + last) // 2]

    def _means(self) -> Tensor:
        return self.sums[:, self._column] / self.count

    def _synced(self) -> AbstractContextManager[None]:
        """What torchmetrics wraps around ``compute`` alone."""
        return self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute)


class VRand(_SegmentScore):
    """Foreground-restricted Rand score after border thinning, V_Rand of ISBI 2012. In 0..1.

    In a ``MetricCollection`` with ``compute_groups=[["v_rand", "v_info"]]`` it shares its costly update with
    ``VInfo``. doi:10.3389/fnana.2015.00142.

    Args:
        decision: One fixed beforehand, for ``at_decision``.
    """

    _column = 0


class VInfo(_SegmentScore):
    """Foreground-restricted information score after border thinning, V_Info of ISBI 2012. In 0..1.

    In a ``MetricCollection`` with ``compute_groups=[["v_rand", "v_info"]]`` it shares its costly update with
    ``VRand``. doi:10.3389/fnana.2015.00142.

    Args:
        decision: One fixed beforehand, for ``at_decision``.
    """

    _column = 1


def slice_scores(
    probability: NDArray[np.floating[Any]], cell: NDArray[np.bool_], labels: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """V_Rand and V_Info of one slice at the thresholds of the challenge, and of labels.

    Args:
        probability: (H, W) of cell.
        cell: (H, W) true cell pixels, at least one.
        labels: (H, W) predicted cell pixels; None for the thresholds alone.

    Returns:
        (11, 2), with labels (12, 2), which are the last row.
    """
    swept = sweep(probability, cell, THRESHOLDS)
    return swept if labels is None else np.vstack([swept, v_scores(true_segments(cell), labels)])


def sweep(
    probability: NDArray[np.float32], cell: NDArray[np.bool_], thresholds: tuple[float, ...]
) -> NDArray[np.float64]:
    """Both scores of one slice at each of T thresholds.

    Args:
        probability: (H, W) float32 in 0..1, of cell.
        cell: (H, W) bool, the true cell pixels, at least one.
        thresholds: Each in 0..1.

    Returns:
        (T, 2) float64: V_Rand and V_Info.
    """
    truth = true_segments(cell)
    counted = np.flatnonzero(truth)
    labels = truth.ravel()[counted].astype(np.int64)

    def scores(threshold: float) -> tuple[float, float]:
        segments = proposed_segments(probability > np.float32(threshold))
        return _v_scores(labels, segments.ravel()[counted])

    # A higher threshold leaves a subset of the cells, so proposals with as many cell pixels are the same.
    sizes = [int(np.count_nonzero(probability > np.float32(threshold))) for threshold in thresholds]
    distinct = dict(zip(sizes, thresholds, strict=True))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # watershed lets other threads run
        found = dict(zip(distinct, pool.map(scores, distinct.values()), strict=True))
    return np.array([found[size] for size in sizes], np.float64)
