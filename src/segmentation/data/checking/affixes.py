"""Which names belong together: the same, one with something before or after it, or equal but for two frames."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from segmentation.data.spreading import spread
from segmentation.data.words import role

Affix = tuple[str, str]
"""What a name has before and after the stem."""

NONE: Affix = ("", "")

MAJORITY = 0.5
"""Share of the smaller side that must find its partner."""

_TRIED = 8

_END = re.compile(r"(?<=.)(?:[_\-. ]|(?<=[^A-Za-z]))[A-Za-z]+(?:[_\-. ][A-Za-z]+)*$")
_BEGIN = re.compile(r"[A-Za-z]+(?:[_\-. ][A-Za-z]+)*(?:[_\-. ]|(?=[^A-Za-z]))")


@dataclass(frozen=True)
class Match:
    """How the names of images and masks belong together.

    Attributes:
        images: One affix, or one for each file that is stacked to an image.
        mask: The masks' affix.
        stems: Those that both sides have; a sub-folder is part of a stem.
        classes: Names that take the place of ``{class}`` in the mask's affix, when there is a mask a class.
    """

    images: tuple[Affix, ...]
    mask: Affix
    stems: frozenset[str]
    classes: tuple[str, ...] = ()


def match(images: Collection[str], masks: Collection[str]) -> Match | None:
    """Pair two sets of paths without suffix; None when fewer than half of the smaller set find a partner."""
    a, b = frozenset(images), frozenset(masks)
    least = MAJORITY * min(len(a), len(b))
    if not a or not b:
        return None
    if len(a & b) >= least:
        return Match((NONE,), NONE, a & b)
    tried = [_longer_masks(a, b), _longer_images(a, b, NONE), _framed(a, b)]
    for affix in role_affixes(b, "mask"):
        stems = strip(b, affix)
        if len(stems) >= MAJORITY * len(b):
            tried.append(_longer_images(a, stems, affix))
    best = max((found for found in tried if found is not None), key=lambda found: len(found.stems), default=None)
    return best if best is not None and len(best.stems) >= max(1, _least(best, a, b)) else None


def match_within(names: Collection[str]) -> Match | None:
    """Pair the names of one folder that holds images and masks: ``7`` with ``7_mask``, ``img_7`` with ``gt_7``."""
    all_names = frozenset(names)
    best: Match | None = None
    for affix in role_affixes(all_names, "mask"):
        stems = strip(all_names, affix)
        rest = all_names - {add(stem, affix) for stem in stems}
        found = (
            Match((NONE,), affix, stems & rest)
            if len(stems & rest) >= MAJORITY * len(stems)
            else _longer_images(rest, stems, affix)
        )
        if found and len(found.stems) >= MAJORITY * len(stems) and (not best or len(found.stems) > len(best.stems)):
            best = found
    return best


def role_affixes(names: Collection[str], wanted: str) -> list[Affix]:
    """The most common beginnings and ends that say image or mask, at most six."""
    votes = Counter[Affix]()
    for path in names:
        name = path.rpartition("/")[2]
        end = _END.search(name)
        for text in _from_words(end[0]) if end else ():
            votes["", text] += role(text) == wanted
        begin = _BEGIN.match(name)
        for text in _to_words(begin[0]) if begin and "/" not in path else ():
            votes[text, ""] += role(text) == wanted
    ranked = sorted(votes.items(), key=lambda vote: (-vote[1], len("".join(vote[0])), vote[0]))
    return [affix for affix, count in ranked[:6] if count]


def strip(names: Iterable[str], affix: Affix) -> frozenset[str]:
    """The stems of the names that have an affix."""
    before, after = affix
    stems = set()
    for path in names:
        folder, slash, name = path.rpartition("/")
        if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            stems.add(f"{folder}{slash}{name[len(before) : len(name) - len(after)]}")
    return frozenset(stems)


def add(stem: str, affix: Affix) -> str:
    """The inverse of ``strip`` for one name."""
    folder, slash, name = stem.rpartition("/")
    return f"{folder}{slash}{affix[0]}{name}{affix[1]}"


def _least(found: Match, images: frozenset[str], masks: frozenset[str]) -> float:
    files = max(1, len(found.classes))
    return MAJORITY * min(len(images) / len(found.images), len(masks) / files)


def _longer_masks(images: frozenset[str], masks: frozenset[str]) -> Match | None:
    """Masks whose names hold an image's: X and X_mask, or one mask a class: X_tumor and X_organ."""
    ranked = _affixes(masks, images)
    if not ranked:
        return None
    affix, stems = ranked[0]
    several = [other for other, found in ranked if len(found) >= 0.5 * len(stems) and not other[0]]
    if len(several) > 1 and not affix[0]:
        ends = [end for _, end in several]
        common = _common(ends)
        common = common[: re.search(r"[A-Za-z]*$", common).start()]  # type: ignore[union-attr] # matches nothing too
        classes = tuple(sorted(end[len(common) :] for end in ends))
        if all(re.fullmatch(r"[A-Za-z][A-Za-z_\- ]*", name) and role(name) is None for name in classes):
            union = frozenset().union(*(found for other, found in ranked if other in several))
            return Match((NONE,), ("", common + "{class}"), union, classes)
    return Match((NONE,), affix, stems)


def _longer_images(images: frozenset[str], stems: frozenset[str], mask: Affix) -> Match | None:
    """Images whose names hold a mask's stem; several such are the channels of one image."""
    ranked = _affixes(images, stems)
    if not ranked:
        return None
    most = len(ranked[0][1])
    parts = sorted(affix for affix, found in ranked if len(found) >= 0.9 * most)
    common = frozenset.intersection(*(found for affix, found in ranked if affix in parts))
    return Match(tuple(parts), mask, common) if len(common) >= MAJORITY * most else None


def _framed(images: frozenset[str], masks: frozenset[str]) -> Match | None:
    """Names that are equal but for what all images and all masks share: t13 and man_seg13."""
    a, b = _without_shared(_frame(images), _frame(masks))
    found = strip(images, a) & strip(masks, b)
    return Match((a,), b, found) if found else None


def _frame(names: frozenset[str]) -> Affix:
    nested = any("/" in path for path in names)
    plain = [path.rpartition("/")[2] for path in names]
    before = "" if nested else _common(plain).rstrip("0123456789")
    rest = [name[len(before) :][::-1] for name in plain]
    return before, _common(rest)[::-1].lstrip("0123456789")


def _without_shared(first: Affix, second: Affix) -> tuple[Affix, Affix]:
    """Leave to the stems what both sides have next to them: imcut and gtcut become im and gt."""
    before = _common([first[0][::-1], second[0][::-1]])[::-1].lstrip("_-. ")
    after = _common([first[1], second[1]]).rstrip("_-. ")

    def shortened(affix: Affix) -> Affix:
        return affix[0][: len(affix[0]) - len(before)], affix[1][len(after) :]

    return shortened(first), shortened(second)


def _common(names: Sequence[str]) -> str:
    """What all begin with."""
    first, last = min(names), max(names)
    return first[
        : next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    ]


def _affixes(longer: frozenset[str], stems: frozenset[str]) -> list[tuple[Affix, frozenset[str]]]:
    """What the longer names have around the stems, the most common first."""
    votes = Counter[Affix]()
    ordered = sorted(longer)
    for path in {*ordered[:_TRIED], *ordered[len(ordered) // 2 :][:_TRIED], *spread(ordered, _TRIED)}:
        affix = _around(path, stems)
        if affix is not None:
            votes[affix] += 1
    ranked = [(affix, strip(longer, affix) & stems) for affix, _ in votes.most_common(8)]
    return sorted(ranked, key=lambda found: -len(found[1]))


def _around(path: str, stems: frozenset[str]) -> Affix | None:
    """The affix around the longest stem within a name, which no digit or letter of the same kind may touch."""
    folder, slash, name = path.rpartition("/")
    for length in range(len(name) - 1, 0, -1):
        for at in range(0, len(name) - length + 1):
            before, stem, after = name[:at], name[at : at + length], name[at + length :]
            divided = before and folder  # a sub-folder is part of the stem
            if f"{folder}{slash}{stem}" in stems and not (divided or _cuts(before, stem) or _cuts(stem, after)):
                return before, after
    return None


def _cuts(left: str, right: str) -> bool:
    """Whether a number is cut in two."""
    return bool(left and right) and left[-1].isdigit() and right[0].isdigit()


def _from_words(end: str) -> list[str]:
    """``_gt_labels`` -> _gt_labels, _labels."""
    return [end[found.start() :] for found in re.finditer(r"^[A-Za-z]|[_\-. ]", end)]


def _to_words(begin: str) -> list[str]:
    """``man_seg_`` -> man_, man_seg_."""
    return [begin[: found.end()] for found in re.finditer(r"[_\-. ]|[A-Za-z]$", begin)]
