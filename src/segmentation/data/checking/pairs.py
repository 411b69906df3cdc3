"""Folders of images and masks in general: which folder holds which, and how their names belong together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from pathlib import PurePosixPath

from segmentation.data.checking.affixes import Affix, Match, add, match, match_within
from segmentation.data.checking.listing import Listing, Look, join
from segmentation.data.pairing import composed
from segmentation.data.spreading import spread
from segmentation.data.words import OBJECT_WORDS, VIEW_WORDS, role, says, split_template, split_word

_OWN_FOLDERS = 12
"""Up to so many sub-folders without a telling name are also looked at one by one."""

_CLASSES = 64
"""More sub-folders of masks than this are no classes."""

_FOLDERS = 60
"""Of more folders, only those are compared whose paths differ in one place."""


@dataclass(frozen=True)
class Group:
    """Image files below one folder, or those of one suffix in it.

    Attributes:
        folder: Below the root.
        files: Stem (path below ``folder`` without suffix) -> file below the root.
        suffix: Of all its files, where that tells images and masks apart; else empty.
    """

    folder: str
    files: dict[str, str]
    suffix: str = ""


@dataclass(frozen=True)
class Pair:
    """Images and their masks.

    Attributes:
        images: Patterns, one for each file that is stacked to an image.
        masks: A pattern.
        image_files: Those that have a mask, below the root; of several channels the first.
        mask_files: Theirs, in the same order; of several classes the first.
        classes: With a mask file for each class, the names in ``{class}``.
        lists: Train, val or test, when ``{split}`` is in the patterns.
        rank: Smaller is likelier to be what the masks of the images are.
        distance: How much the folders of images and masks differ.
    """

    images: tuple[str, ...]
    masks: str
    image_files: tuple[str, ...]
    mask_files: tuple[str, ...]
    classes: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    rank: tuple[int, ...] = ()
    distance: int = 0


def find_pairs(listing: Listing, without: Sequence[str] = ()) -> list[Pair]:
    """Every way to read images with masks here.

    Args:
        listing: Of the root.
        without: Folders that something else has been recognised in.
    """
    found = groups(listing, without)
    pairs = [pair for group in found for pair in _within(listing, group)]
    for images, masks in _candidates(found):
        pairs += _between(listing, images, masks)
    return _merged(pairs)


def groups(listing: Listing, without: Sequence[str] = ()) -> list[Group]:
    """Folders whose names say image, mask or a split, with all that lies below them; else single folders."""
    cuts: dict[str, list[str]] = {}
    for folder in listing.images:
        if not any(folder == other or folder.startswith(f"{other}/") or not other for other in without):
            cuts.setdefault(_cut(folder), []).append(folder)
    found = []
    for cut, folders in cuts.items():
        if folders != [cut]:
            found.append(_group(listing, cut, folders))
        if len(folders) <= _OWN_FOLDERS or cut in folders:
            found += [
                _group(listing, folder, [folder]) for folder in folders if len(folders) <= _OWN_FOLDERS or folder == cut
            ]
    return found


def _cut(folder: str) -> str:
    parts = folder.split("/") if folder else []
    telling = [at for at, part in enumerate(parts) if role(part) or split_word(part)]
    return "/".join(parts[: telling[-1] + 1]) if telling else ""


def _group(listing: Listing, folder: str, folders: Sequence[str]) -> Group:
    files: dict[str, str] = {}
    for each in folders:
        below = each[len(folder) :].lstrip("/")
        for name in listing.images[each]:
            files.setdefault(join(below, PurePosixPath(name).stem), join(each, name))
    return Group(folder, files)


def _candidates(found: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    for images, masks in permutations(found, 2):
        if images.folder == masks.folder or (len(found) > _FOLDERS and _differing(images.folder, masks.folder) > 1):
            continue
        yield images, masks


def _differing(first: str, second: str) -> int:
    a, b = first.split("/"), second.split("/")
    return max(len(a), len(b)) if len(a) != len(b) else sum(x != y for x, y in zip(a, b, strict=True))


def _between(listing: Listing, images: Group, masks: Group) -> list[Pair]:
    image_role, mask_role = _roles(images.folder, masks.folder)
    if image_role == "mask" or mask_role == "image" or _split_distance(images.folder, masks.folder) > 1:
        return []
    shared = [file for file in images.files.values() if file in masks.files.values()] if _nested(images, masks) else []
    if shared:
        return []
    look = listing.typical(list(masks.files.values()))
    if mask_role != "mask" and not _told_by_content(listing, images, look):
        return []
    named = _one_mask_a_class(listing, images, masks) if mask_role == "mask" else None
    if named is not None:
        return [named]
    found = match(images.files, masks.files)
    if found is None and not all(stem.isascii() for stem in [*images.files, *masks.files]):
        images, masks = _composed(images), _composed(masks)
        found = match(images.files, masks.files)
    return [] if found is None else [_pair(listing, images, masks, found)]


def _composed(group: Group) -> Group:
    return replace(group, files={composed(stem): file for stem, file in group.files.items()})


def _split_distance(first: str, second: str) -> int:
    """2 for folders of two different splits, 1 when only one of them is of a split."""
    a, b = split_template(first)[1], split_template(second)[1]
    return 0 if a == b else 1 if None in (a, b) else 2


def _nested(first: Group, second: Group) -> bool:
    a, b = f"{first.folder}/".lstrip("/"), f"{second.folder}/".lstrip("/")
    return a.startswith(b) or b.startswith(a)


def _roles(images: str, masks: str) -> tuple[str | None, str | None]:
    """What the parts of the paths say in which the two folders differ; the last that says something."""
    a, b = images.split("/"), masks.split("/")
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    return _last_role(a), _last_role(b)


def _last_role(parts: Sequence[str]) -> str | None:
    return next((said for part in reversed(parts) if (said := role(part))), None)


def _told_by_content(listing: Listing, images: Group, look: Look | None) -> bool:
    other = listing.typical(list(images.files.values()))
    return look is not None and other is not None and look.mask_like and look.distinct * 2 < other.distinct


def _one_mask_a_class(listing: Listing, images: Group, masks: Group) -> Pair | None:
    """``masks/CLASS/NAME``: the sub-folders' names are classes when each holds two-valued masks of the same images."""
    subs: dict[str, dict[str, str]] = {}
    for stem, file in masks.files.items():
        first, _, rest = stem.partition("/")
        if rest:
            subs.setdefault(first, {})[rest] = file
    if (
        not 2 <= len(subs) <= _CLASSES
        or sum(map(len, subs.values())) < len(masks.files)
        or any(says(sub, VIEW_WORDS) for sub in subs)
    ):
        return None
    matches = {sub: match(images.files, files) for sub, files in subs.items()}
    known = [found for found in matches.values() if found is not None]
    if len(known) < len(subs) or len({(found.images, found.mask) for found in known}) > 1:
        return None
    if not any(a.stems & b.stems for a, b in combinations(known, 2)):
        return None  # sub-folders of patients, not of classes
    looks = [listing.typical(list(files.values())) for files in subs.values()]
    if any(look is None or (look.distinct > 2 and not look.lossy) for look in looks):
        return None
    stems = frozenset().union(*(found.stems for found in known))
    mask = known[0].mask
    by_stem = {stem: file for sub, files in subs.items() for stem, file in files.items()}
    flat = Group(join(masks.folder, "{class}"), by_stem)
    return _pair(listing, images, flat, Match(known[0].images, mask, stems, tuple(sorted(subs))))


def _within(listing: Listing, group: Group) -> list[Pair]:
    """Images and masks in one folder: by what is before or after their names, or by suffix."""
    found = match_within(group.files)
    if found is not None:
        rest = {stem: file for stem, file in group.files.items() if not _is_mask(stem, found)}
        return [_pair(listing, replace(group, files=rest), group, found)]
    suffixes: dict[str, dict[str, str]] = {}
    for folder in {str(PurePosixPath(file).parent) for file in group.files.values()}:
        folder = "" if folder == "." else folder
        for name in listing.images[folder]:
            path = PurePosixPath(name)
            stem = join(folder[len(group.folder) :].lstrip("/"), path.stem)
            suffixes.setdefault(path.suffix.lower(), {})[stem] = join(folder, name)
    pairs = []
    for images, masks in permutations(suffixes, 2) if len(suffixes) <= 4 else ():
        both = suffixes[images].keys() & suffixes[masks].keys()
        if len(both) < 0.5 * min(len(suffixes[images]), len(suffixes[masks])):
            continue
        a, b = Group(group.folder, suffixes[images], images), Group(group.folder, suffixes[masks], masks)
        look = listing.typical(list(b.files.values()))
        if look is not None and not look.lossy and _told_by_content(listing, a, look):
            pairs.append(_pair(listing, a, b, Match((("", ""),), ("", ""), frozenset(both))))
    return pairs


def _is_mask(stem: str, found: Match) -> bool:
    name = stem.rpartition("/")[2]
    return name.startswith(found.mask[0]) and name.endswith(found.mask[1])


def _pair(listing: Listing, images: Group, masks: Group, found: Match) -> Pair:
    stems = sorted(found.stems)
    image_files = [images.files[add(stem, found.images[0])] for stem in stems]
    affix = found.mask
    if found.classes and "{class}" in affix[1]:
        ends = [affix[1].replace("{class}", name) for name in found.classes]
        mask_files = [
            next(masks.files[add(stem, ("", end))] for end in ends if add(stem, ("", end)) in masks.files)
            for stem in stems
        ]
    else:
        mask_files = [masks.files[add(stem, affix)] for stem in stems]
    return Pair(
        tuple(_pattern(images, each) for each in found.images),
        _pattern(masks, affix),
        tuple(image_files),
        tuple(mask_files),
        found.classes,
        (),
        _rank(listing, masks, affix, mask_files),
        _split_distance(images.folder, masks.folder) * 10 + _differing(images.folder, masks.folder),
    )


def _pattern(group: Group, affix: Affix) -> str:
    return join(group.folder, f"{affix[0]}{{stem}}{affix[1]}{group.suffix}")


def _rank(listing: Listing, masks: Group, affix: Affix, files: Sequence[str]) -> tuple[int, ...]:
    """Copies for viewing and masks of objects come after index masks."""
    name = f"{masks.folder.rpartition('/')[2]} {affix[0]} {affix[1]}"
    look = listing.typical(spread(list(files), 5))
    unlike = 2 if look is None else int(look.distinct > 256)
    return (
        int(says(name, VIEW_WORDS)),
        int(look is not None and look.lossy),
        unlike,
        int(says(name, OBJECT_WORDS)),
        int(look is not None and look.channels > 1),
    )


def _merged(pairs: Sequence[Pair]) -> list[Pair]:
    """Those that differ by a word for train, val and test alone become one with ``{split}``."""
    by_template: dict[tuple[str, ...], dict[str, Pair]] = {}
    merged = []
    for pair in pairs:
        templates = [_split_pattern(pattern) for pattern in (*pair.images, pair.masks)]
        lists = {found for _, found in templates}
        if len(lists) == 1 and None not in lists:
            key = tuple(template for template, _ in templates)
            by_template.setdefault(key, {})[str(lists.pop())] = pair
        else:
            merged.append(pair)
    for patterns, parts in by_template.items():
        ordered = [parts[name] for name in ("train", "val", "test") if name in parts]
        if len(ordered) == 1:
            merged.append(ordered[0])
            continue
        merged.append(
            Pair(
                patterns[:-1],
                patterns[-1],
                tuple(file for part in ordered for file in part.image_files),
                tuple(file for part in ordered for file in part.mask_files),
                tuple(sorted({name for part in ordered for name in part.classes})),
                tuple(name for name in ("train", "val", "test") if name in parts),
                max(part.rank for part in ordered),
                max(part.distance for part in ordered),
            )
        )
    return merged


def _split_pattern(pattern: str) -> tuple[str, str | None]:
    folder, slash, name = pattern.rpartition("/")
    template, found = split_template(folder)
    return f"{template}{slash}{name}", found
