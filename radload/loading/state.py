"""The state of a run's data: what has been delivered, and for which order that is true. A small dict that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radload.errors import UsageError

STATE_VERSION = 1

# What must be the same for a position to mean the same samples, and what to do where it is not.
_MUST_MATCH = {
    "generation": "the data set is of another version: resume with version={theirs}, or go on with this one from the next epoch by "
    "allow_new_version (pretrain: --allow-new-version)",
    "fingerprint": "the data set has other pixels: resume with the shards that the run was started with",
    "split": "open the loader with the same split",
    "samples": "the split has another number of samples: resume with the shards that the run was started with",
    "global_batch": "batch_size times the number of ranks must stay what it was",
    "seed": "open the loader with the same seed",
    "shuffle": "open the loader with the same shuffle",
    "drop_last": "open the loader with the same drop_last",
    "fit": "open the loader with the same fit",
    "spacing": "open the loader with the same spacing",
    "augment": "open the loader with the same augment",
    "views": "open the loader with the same views",
    "sampler": "open the loader with the same sampler",
    "weights": "open the loader with the same weights",
    "neighbours": "open the loader with the same neighbours, neighbour_spacing and neighbour_edges",
    "blocks": "open the loader with the same block and runs",
    "strata": "the labels or patients that the sampler goes by are others: resume with those that the run was started with",
}

# What may differ between two versions of one data set.
_OF_VERSION = frozenset(("fingerprint", "generation", "samples", "strata"))


def make_state(order: Mapping[str, Any], epoch: int, position: int) -> dict[str, Any]:
    """State after `position` global batches of `epoch`; `order` holds the values of `_MUST_MATCH`."""
    return {"version": STATE_VERSION, "epoch": epoch, "position": position} | {k: order[k] for k in _MUST_MATCH}


def read_state(
    state: Mapping[str, Any],
    order: Mapping[str, Any],
    steps: int,
    world_size: int = 1,
    allow_new_version: bool = False,
) -> tuple[int, int]:
    """(epoch, position) of a state, after checking that it belongs to this order; `world_size`: ranks that want to go on with it.

    Args:
        allow_new_version: a state of another version of the data set is taken to the start of the next epoch, whose order is this
            version's: a pass that was begun cannot be ended with other samples.

    Raises:
        UsageError: it does not, or it is no state of a loader.
    """
    try:
        version, epoch, position = (int(state[name]) for name in ("version", "epoch", "position"))
        theirs = {name: state[name] for name in _MUST_MATCH}
    except (KeyError, TypeError, ValueError):
        raise UsageError("this is no loader state as state_dict() returns it: give that dict, unchanged") from None
    if version != STATE_VERSION:
        raise UsageError(
            f"the loader state has version {version}, this radload reads {STATE_VERSION}: install the one that wrote it"
        )
    moved = allow_new_version and theirs["generation"] != order["generation"]
    for name, remedy in _MUST_MATCH.items():
        if theirs[name] != order[name] and not (moved and name in _OF_VERSION):
            if name == "global_batch":
                remedy += f": {_share(theirs[name], world_size)}"
            remedy = remedy.replace("{theirs}", str(theirs[name]))
            raise UsageError(f"the loader state has {name}={theirs[name]!r}, this loader {order[name]!r}: {remedy}")
    if moved:
        if epoch < 0 or position < 0:
            raise UsageError(f"the loader state is at step {position} in epoch {epoch}: it does not exist")
        return epoch + (position > 0), 0
    if epoch < 0 or not 0 <= position <= steps:
        raise UsageError(f"the loader state is at step {position} of {steps} in epoch {epoch}: it does not exist")
    return epoch, position


def _share(global_batch: object, world_size: int) -> str:
    """What a rank has to do to keep a global batch."""
    if isinstance(global_batch, int) and global_batch % world_size == 0:
        return f"give batch_size={global_batch // world_size} on {world_size} ranks"
    return f"{world_size} ranks cannot divide {global_batch}, take another number of them"
