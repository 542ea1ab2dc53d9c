"""Orbax checkpoints with a digest, and strict loading whose errors name the leaves.

A checkpoint ``ckpt/<step>/`` holds the items ``state`` (to resume), ``encoder`` (the
trunk: what a later stage opens), ``head`` and ``classifier`` (what sits on it, where
there is one) or whatever else a stage gives it, and ``digest`` (sha256 of each item's
arrays: Orbax itself restores a flipped byte without a word).
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Sharding, SingleDeviceSharding

from sslx import hosts
from sslx.runs.files import CHECKPOINTS, read_json
from sslx.runs.trouble import trouble
from sslx.types import UserError, refuse_if


def _leaves(tree: Any) -> dict[str, Any]:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in flat
    }


def digest(tree: Any) -> str:
    """sha256 over the names, types, shapes and bytes of all arrays of a tree."""
    sha = hashlib.sha256()
    for name, leaf in sorted(_leaves(jax.device_get(tree)).items()):
        array = np.asarray(leaf)
        sha.update(f"{name} {array.dtype} {array.shape};".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def steps(run: Path) -> list[int]:
    """The steps that a run has complete checkpoints of, ascending."""
    folder = run / CHECKPOINTS
    if not folder.is_dir():
        return []
    # A save cut short by a kill keeps a longer name that is no number.
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def _digests(folder: Path) -> dict[str, str]:
    return read_json(folder / "digest" / "metadata")


def seal(run: Path) -> dict[str, Any]:
    """The last step and the digests of its items, for the meta of a finished run.

    To be called by all processes: the first reads, the others hear.
    """

    def last() -> dict[str, Any]:
        step = steps(run)[-1]
        return {"step": step, "digests": _digests(run / CHECKPOINTS / str(step))}

    return hosts.share(last)


@contextmanager
def open_store(run: Path, keep: int) -> Iterator[Callable[[int, dict], None]]:
    """Opens the checkpoints of a run for writing; all are on disk when it closes.

    Gives ``save(step, items)``: items is a dict of trees; written in the background.

    Args:
        run: The run directory.
        keep: How many of the latest checkpoints stay.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=keep)
    folder = (run / CHECKPOINTS).absolute()
    with ocp.CheckpointManager(folder, options=options) as manager:

        def save(step: int, items: dict[str, Any]) -> None:
            args = {k: ocp.args.StandardSave(tree) for k, tree in items.items()}
            digests = ocp.args.JsonSave({k: digest(tree) for k, tree in items.items()})
            # A refused save only returns False.
            saved = manager.save(step, args=ocp.args.Composite(digest=digests, **args))
            refuse_if(not saved, f"{folder}: checkpoint {step} could not be saved")

        yield save


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    def text(leaf):
        return f"{tuple(leaf.shape)} {np.dtype(leaf.dtype).name}"

    missing = [f"{k} is missing" for k in wanted if k not in stored]
    extra = [f"{k} is not in the model" for k in stored if k not in wanted]
    differ = [
        f"{k} is {text(stored[k])}, not {text(wanted[k])}"
        for k in wanted
        if k in stored and text(stored[k]) != text(wanted[k])
    ]
    return missing + extra + differ


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"


def load(
    run: Path,
    item: str,
    like: Any,
    sharding: Sharding | None = None,
    sealed: dict[str, Any] | None = None,
) -> Any:
    """Restores one item of a run's latest checkpoint, or of the one it was sealed with.

    Args:
        run: The run directory.
        item: ``state``, ``encoder`` or ``head``.
        like: Tree of arrays or ShapeDtypeStructs: what the item must be.
        sharding: Where the arrays go; None: this process's first device. If it spans
            processes, all of them must call.
        sealed: What ``seal`` gave when the run finished: only these weights will do.

    Raises:
        UserError: There is no checkpoint, it is damaged, or its leaves differ from
            ``like``'s; the message names the leaves.
    """
    sharding = sharding or SingleDeviceSharding(jax.local_devices()[0])
    found = [sealed["step"]] if sealed else steps(run)
    if not sharding.is_fully_addressable:
        found = hosts.share(lambda: found)
    refuse_if(not found, f"{run} has no checkpoint")
    folder = (run / CHECKPOINTS / str(found[-1])).absolute()
    template = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like
    )
    remedy = f"delete {run} to compute the run again"
    if not sealed:
        remedy = f"delete that folder to go on from the one before it, or {remedy}"

    def damaged(why: str | Exception) -> UserError:
        if not isinstance(why, str):
            if line := trouble(why):  # nothing to delete for that
                return UserError(f"checkpoint {folder} cannot be read: {line}")
            why = _first_line(why)
        return UserError(f"checkpoint {folder} is damaged; {remedy} ({why})")

    try:
        # The handler: a checkpointer warns that an item alone is no checkpoint.
        stored = ocp.StandardCheckpointHandler().metadata(folder / item).tree
    except Exception as error:  # whatever a reader of broken files may raise
        raise damaged(error) from None
    differences = _differences(_leaves(stored), _leaves(template))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UserError(
            f"{folder}/{item} does not fit the model: {'; '.join(differences[:3])}"
            f"{more}"
        )
    try:
        # Alone, even where there are others: they may not be here to wait for.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=hosts.index(), active_processes={hosts.index()}
        )
        with ocp.StandardCheckpointer(multiprocessing_options=alone) as checkpointer:
            tree = checkpointer.restore(folder / item, template)
        expected = sealed["digests"] if sealed else _digests(folder)
        intact = digest(tree) == expected[item]
    except Exception as error:
        raise damaged(error) from None
    if not intact:
        raise damaged(f"the {item}'s digest differs")
    return tree


def stored(run: Path, item: str, sealed: dict[str, Any] | None = None) -> Any:
    """What an item holds, in the form of ``load``'s ``like``; no array is read.

    Args:
        run: The run directory.
        item: ``state``, ``encoder`` or ``head``.
        sealed: As for ``load``.

    Returns:
        A tree of ShapeDtypeStructs; None where the checkpoint has no such item.

    Raises:
        UserError: There is no checkpoint, or what describes the item is damaged.
    """
    refuse_if(not steps(run), f"{run} has no checkpoint")
    step = sealed["step"] if sealed else steps(run)[-1]
    folder = run.absolute() / CHECKPOINTS / str(step)
    if not (folder / item).is_dir():
        if folder.is_dir() and not (sealed and item in sealed["digests"]):
            return None
        raise UserError(f"checkpoint {folder} is damaged (no {item} in it)")
    try:
        found = ocp.StandardCheckpointHandler().metadata(folder / item).tree
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), found)
    except Exception as error:  # whatever a reader of broken files may raise
        raise UserError(
            f"checkpoint {folder} is damaged ({item}: {_first_line(error)})"
        ) from None
