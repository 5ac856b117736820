"""Which samples train, which validate and which test: by seed, mark or group.

Every way gives each split an order of which every prefix is class-balanced, so that
the first few samples of a split stand for all of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from k210.errors import UserError
from stages.dataset.files import SPLITS, Item, Listing, named
from stages.dataset.samples import Labels
from stages.project.data import Split as Wanted
from stages.project.schema import Data

Indices = NDArray[np.intp]
Chosen = dict[str, Indices]
"""The positions of each split's samples, in order."""

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2


def balanced_order(labels: Labels | None, count: int, seed: int) -> Indices:
    """A seeded order of ``count`` samples in which every prefix is class-balanced."""
    order = np.random.default_rng(seed).permutation(count)
    if labels is None:
        return order
    shuffled = labels[order]
    rank = np.zeros(count, dtype=np.intp)
    for label in np.unique(shuffled):
        members = np.flatnonzero(shuffled == label)
        rank[members] = np.arange(len(members))
    balanced: Indices = order[np.lexsort((shuffled, rank))]
    return balanced


def choose(settings: Data, listing: Listing, labels: Labels) -> Chosen:
    """Choose each split's samples as ``data.split`` says.

    Raises:
        UserError: there are too few, or a split would be empty.
    """
    wanted, seed = settings.split, settings.seed
    if wanted.by == "seed":
        return by_seed(wanted, seed, len(labels), labels)
    if wanted.by == "group":
        return by_group(wanted, seed, [item.group for item in listing.items], labels)
    return by_mark(wanted, seed, [item.split for item in listing.items], labels)


def by_seed(wanted: Wanted, seed: int, count: int, labels: Labels | None) -> Chosen:
    """Draw all splits from all samples.

    Raises:
        UserError: there are too few.
    """
    sizes = [
        _amount(amount or 0, count)
        for amount in (wanted.train, wanted.validation, wanted.test)
    ]
    if sum(sizes) > count:
        raise UserError(
            f"data.split asks for {sum(sizes)} samples and the data has {count}; "
            "make the splits smaller, or give fractions such as train: 0.7"
        )
    order = balanced_order(labels, count, seed)
    ends = np.cumsum(sizes)
    parts = np.split(order[: ends[-1]], ends[:-1])
    return _nonempty(wanted, dict(zip(SPLITS, parts, strict=True)))


def by_mark(wanted: Wanted, seed: int, marks: Sequence[str], labels: Labels) -> Chosen:
    """Take the samples that are marked, validation from training if none is.

    Raises:
        UserError: there are too few.
    """
    marked = np.array(marks)
    pools = {
        name: _in_order(np.flatnonzero(marked == name), labels, seed) for name in SPLITS
    }
    if not len(pools["validation"]):
        share = VALIDATION_SHARE if wanted.validation is None else wanted.validation
        size = _limited("validation", share, pools["train"])
        pools["validation"], pools["train"] = np.split(pools["train"], [size])
    elif wanted.validation is not None:
        size = _limited("validation", wanted.validation, pools["validation"])
        pools["validation"] = pools["validation"][:size]
    for name, amount in (("train", wanted.train), ("test", wanted.test)):
        if amount is not None:
            pools[name] = pools[name][: _limited(name, amount, pools[name])]
    return _nonempty(wanted, pools)


def by_group(
    wanted: Wanted, seed: int, groups: Sequence[str], labels: Labels
) -> Chosen:
    """Deal out whole groups until each split has about what it should.

    A group goes to the split that lacks the largest part of its share. Groups are
    dealt in an order that the seed shuffles.

    Raises:
        UserError: there are fewer groups than splits.
    """
    count = len(groups)
    sizes = {
        "test": _amount(TEST_SHARE if wanted.test is None else wanted.test, count),
        "validation": _amount(
            VALIDATION_SHARE if wanted.validation is None else wanted.validation, count
        ),
    }
    rest = max(1, count - sum(sizes.values()))
    sizes["train"] = rest if wanted.train is None else _amount(wanted.train, count)
    needed = {name: sizes[name] for name in SPLITS if sizes[name]}
    dealt = _deal(needed, seed, groups)
    found = {
        name: _in_order(np.array(sorted(dealt.get(name, ())), np.intp), labels, seed)
        for name in SPLITS
    }
    for name in needed:
        if not len(found[name]):
            raise UserError(
                f"data.split.by: group finds {len(set(groups))} groups, too few for "
                f"{len(needed)} splits; correct data.split.group or split by seed"
            )
    return found


def _deal(needed: Mapping[str, int], seed: int, groups: Sequence[str]) -> Chosen:
    """The positions that each split gets; groups beyond all shares are left over."""
    names = np.array(groups)
    kinds = np.unique(names)
    dealt: dict[str, list[int]] = {name: [] for name in needed}
    for kind in np.random.default_rng(seed).permutation(kinds):
        lacking = {k: 1 - len(dealt[k]) / size for k, size in needed.items()}
        neediest = max(lacking, key=lacking.__getitem__)
        if lacking[neediest] > 0:
            dealt[neediest] += np.flatnonzero(names == kind).tolist()
    return {name: np.array(members, np.intp) for name, members in dealt.items()}


def _in_order(members: Indices, labels: Labels, seed: int) -> Indices:
    return members[balanced_order(labels[members], len(members), seed)]


def _amount(wanted: int | float, available: int) -> int:
    """A count as it is; a fraction of what is available, rounded down."""
    return int(wanted * available + 1e-6) if isinstance(wanted, float) else wanted


def _limited(name: str, wanted: int | float, pool: Indices) -> int:
    size = _amount(wanted, len(pool))
    if size > len(pool):
        raise UserError(
            f"data.split.{name} asks for {size} pictures and there are {len(pool)} to "
            "choose from; ask for fewer"
        )
    return size


def _nonempty(wanted: Wanted, chosen: Chosen) -> Chosen:
    for name in ("train", "test"):
        if not len(chosen[name]):
            raise UserError(
                f"data.split.{name} leaves no pictures (split by {wanted.by}); "
                "ask for more, or add some"
            )
    return chosen


def require_classes(chosen: Chosen, labels: Labels, classes: Sequence[str]) -> None:
    """Make sure that training sees every class that is asked for later.

    Raises:
        UserError: it does not.
    """
    trained = {*labels[chosen["train"]].tolist()}
    for name in ("validation", "test"):
        unknown = sorted({*labels[chosen[name]].tolist()} - trained)
        if unknown:
            listed = named([repr(classes[label]) for label in unknown])
            raise UserError(
                f"the {name} split has pictures of classes that the train split has "
                f"not: {listed}; add some to train"
            )


def require_no_leak(
    items: Sequence[Item], digests: Sequence[bytes], ends: Sequence[int]
) -> int:
    """Make sure that no picture is in two splits; returns the copies within one.

    Args:
        items: the pictures, split after split.
        digests: of their pixels.
        ends: where each split ends.

    Raises:
        UserError: one is, under whatever names.
    """
    split = np.searchsorted(ends, np.arange(len(items)), side="right")
    first: dict[bytes, int] = {}
    leaks, copies = [], 0
    for index, digest in enumerate(digests):
        before = first.setdefault(digest, index)
        copies += before != index
        if split[before] != split[index]:
            one, other = (
                f"{items[i].name} ({SPLITS[split[i]]})" for i in (before, index)
            )
            leaks.append(f"{one} is {other}")
    if leaks:
        raise UserError(
            f"{len(leaks)} pictures are in two splits: {named(leaks)}; remove one of "
            "the two, or split by group"
        )
    return copies
