"""Which split a patient belongs to: a keyed hash of his identity, so that he keeps it in every pack, or exact quotas for small sets.

The hash takes the public --split-seed and no secret. It looks at one patient only: more data never moves a patient.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TypeAlias

from radload.dataset.schema import SPLITS
from radload.errors import UsageError

Ratio: TypeAlias = tuple[float, float, float]  # shares of train, val, test; their sum is 1

EXACT_BELOW = 200  # patients: from here on a hash keeps the ratio well enough (15 % +- 2.5 % at 200)


def parse_ratio(text: str) -> Ratio:
    """ "75/10/15" as shares of 1. Raises UsageError."""
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 3 or not all(0 <= part <= 100 for part in parts) or abs(sum(parts) - 100) > 1e-6:
        raise UsageError(
            f"--split {text} is no division: give percent of patients for train/val/test that add up to 100, such as 75/10/15"
        )
    return parts[0] / 100, parts[1] / 100, parts[2] / 100


def split_hash(identity: str, seed: int) -> float:
    """A number in [0, 1) that depends on the patient and the public seed only (BLAKE2b keyed with the seed)."""
    key = f"radload-split-{seed}".encode()
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=8, key=key).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def quotas(count: int, ratio: Ratio) -> tuple[int, int, int]:
    """`count` patients by largest remainder; at equal remainders train comes before val, val before test."""
    exact = [count * share for share in ratio]
    given = [math.floor(value + 1e-9) for value in exact]
    order = sorted(range(3), key=lambda split: (-(exact[split] - given[split]), split))
    for split in order[: count - sum(given)]:
        given[split] += 1
    return given[0], given[1], given[2]


def assign(strata: Mapping[str, str], ratio: Ratio, seed: int, added: bool = False) -> dict[str, int]:
    """Split (0 train, 1 val, 2 test) of every patient.

    From EXACT_BELOW patients on: by `split_hash` alone. Below: `quotas` are kept exactly; the patients stand in order of
    (stratum, hash), and each in turn goes where the quota is furthest behind, so every stratum is divided like the whole.

    Args:
        strata: patient identity -> stratum (majority class), "" where there are no labels.
        added: to others, who are divided: by hash however few they are, because quotas would send whoever comes alone to train.
    """
    hashes = {identity: split_hash(identity, seed) for identity in strata}
    if added or len(strata) >= EXACT_BELOW:
        train, val = ratio[0], ratio[0] + ratio[1]
        last = 2 if ratio[2] > 0 else 1 if ratio[1] > 0 else 0  # rounding of the sums never opens an empty split
        return {identity: min(0 if h < train else 1 if h < val else 2, last) for identity, h in hashes.items()}
    wanted = quotas(len(strata), ratio)
    groups: dict[str, list[str]] = defaultdict(list)
    for identity, stratum in strata.items():
        groups[stratum].append(identity)
    found: dict[str, int] = {}
    given = [0, 0, 0]
    for stratum in sorted(groups):
        for identity in sorted(groups[stratum], key=lambda name: (hashes[name], name)):
            due = [wanted[split] * (len(found) + 1) / len(strata) - given[split] for split in range(3)]
            split = max((s for s in range(3) if given[s] < wanted[s]), key=lambda s: (due[s], -s))
            found[identity] = split
            given[split] += 1
    return found


def rule(ratio: Ratio, seed: int, count: int, given: int, stratified: bool) -> dict[str, Any]:
    """What the manifest says about the division of `count` patients, `given` of whom a file placed."""
    exact = count - given < EXACT_BELOW
    return {
        "unit": "patient",
        "ratio": [round(share * 100, 6) for share in ratio],
        "seed": seed,
        "method": "exact quotas in order of hash" if exact else "hash",
        "hash": "BLAKE2b-64 of the patient identity, keyed with radload-split-SEED",
        "stratified_by_class": stratified and exact,
        "quotas": dict(zip(SPLITS, quotas(count - given, ratio), strict=True)) if exact else None,
        "given_patients": given,
    }
