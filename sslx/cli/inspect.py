"""What a run or a workdir holds, without computing anything.

Command: sslx inspect PATH [--depth N] [--no-norms] [--json]

``look(path)`` gives the facts as JSON-like data (keys: docs/analysis.md); what cannot
be read stands in its place as ``{"problem": line}``, and the rest is still given.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from sslx.cli.inspect_text import as_text
from sslx.embed.finished import KINDS
from sslx.queries.plan import make_plan
from sslx.runs.files import CHECKPOINTS
from sslx.runs.lineage import Node, ancestors, data_slug, is_run, lineage, read_node
from sslx.runs.paths import local_path
from sslx.service.bills import LEDGER, bills, total
from sslx.stages.features import SPLITS, is_intact
from sslx.train import checkpoint
from sslx.train.logbook import ROWS, WATCHED, read_rows
from sslx.types import UserError, refuse_if

PARTS = ("encoder", "head", "classifier")
TRAINING = ("victim", "steal")


def _short(error: Exception, run: Path) -> str:
    """An error's message in one line, files named from the run directory on."""
    return " ".join(str(error).split()).replace(f"{run}/", "")


def _piece(run: Path, read: Callable[..., Any], *args: Any) -> Any:
    """What ``read`` gives, or ``{"problem": line}``."""
    try:
        return read(*args)
    except (UserError, OSError) as error:
        return {"problem": _short(error, run)}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return {"problem": f"not as it was written ({why[:80]})"}


def look(path: str | Path, *, depth: int | None = None, norms: bool = True) -> dict:
    """The facts of a run directory or of a workdir.

    Args:
        path: The directory.
        depth: How many parts of a weight's name are kept apart (0: only the totals);
            None for all.
        norms: Whether weights are read, to give their L2 norms and check their digest.

    Raises:
        UserError: The path is neither.
    """
    path = local_path(path)
    if is_run(path):
        return run_facts(read_node(path), depth=depth, norms=norms)
    return workdir_facts(path)


def run_facts(node: Node, *, depth: int | None, norms: bool) -> dict:
    """Everything that is known of one run."""
    chain = ancestors(node)
    facts = {
        "run": node.key,
        "path": str(node.path),
        "stage": node.stage,
        "problem": node.problem,
        "what": _piece(node.path, _what, chain),
        **state(node),
        "lineage": [
            {
                "run": n.key,
                "generation": generation,
                "data": _piece(n.path, data_slug, n),
                "problem": n.problem,
                **state(n),
            }
            for generation, n in chain
        ],
    }
    origin = node.recipe.get("origin")  # of a victim that was not trained here
    saves = node.stage in TRAINING or (node.path / CHECKPOINTS).exists()
    if saves and origin not in KINDS:
        facts["weights"] = _weights(node, depth, norms)
        if origin is None:
            facts["metrics"] = _piece(node.path, _last_row, node, ROWS)
        if (node.path / WATCHED).exists():
            facts["watch"] = _piece(node.path, _last_row, node, WATCHED)
    if "self_check" in node.meta:  # what a function was asked beside all plans
        facts["self_check"] = node.meta["self_check"]
    if node.stage in RESULTS:
        title, read = RESULTS[node.stage]
        facts[title] = _piece(node.path, read, node)
    return facts


def state(node: Node) -> dict[str, Any]:
    """Whether a run is finished, the step it stands at, and that it is to reach.

    ``finished`` is None where meta.json cannot be read, ``step`` where nothing is
    saved, ``steps`` for a run that does not train.
    """
    sealed = node.meta.get("weights")
    saved = _piece(node.path, checkpoint.steps, node.path)
    return {
        "finished": node.finished if node.meta else None,
        "step": sealed["step"]
        if isinstance(sealed, dict) and "step" in sealed
        else (saved[-1] if isinstance(saved, list) and saved else None),
        "steps": node.recipe.get("steps"),
    }


def _what(chain: list[tuple[int, Node]]) -> dict[str, Any]:
    """Method, encoder, data and numbers of a run; of the parents, what it lacks."""
    own, nodes = chain[0][1].recipe, [node for _, node in chain]
    encoder = own.get("encoder") or own.get("untrained", {}).get("encoder") or {}
    attacks = [n.recipe["attack"] for n in nodes if "attack" in n.recipe]
    slugs = [slug for slug in map(data_slug, nodes) if slug]
    what = {
        "objective": own.get("objective"),
        **{key: own.get(key) for key in ("origin", "function", "images", "dim")},
        "attack": attacks[0] if attacks and nodes[0].stage != "probe" else None,
        **{key: own.get(key) for key in ("loss", "plan", "views", "output", "defence")},
        "encoder": encoder.get("name"),
        "encoder_kw": encoder.get("kw"),
        "data": slugs[0] if slugs else None,
        **{key: own.get(key) for key in ("queries", "steps", "batch_size", "seed")},
    }
    return {key: value for key, value in what.items() if value is not None}


def _weights(node: Node, depth: int | None, norms: bool) -> dict[str, Any]:
    """Encoder and head of the sealed checkpoint, else of the latest."""
    sealed = node.meta.get("weights") or None
    parts = {
        part: _piece(node.path, _part, node.path, part, sealed, depth, norms)
        for part in PARTS
        if part != "encoder" or "encoder" in node.recipe  # a head trained alone
    }
    return {part: facts for part, facts in parts.items() if facts is not None}


def _part(
    run: Path, part: str, sealed: dict | None, depth: int | None, norms: bool
) -> dict[str, Any] | None:
    like = checkpoint.stored(run, part, sealed)
    if like is None:
        refuse_if(part == "encoder", "no encoder in the checkpoint")
        return None
    shapes = flatten_dict(like, sep="/")
    squares: dict[str, float] | None = None
    problem = None
    if norms:
        try:
            tree = checkpoint.load(run, part, like, sealed=sealed)
            squares = {
                name: float(np.sum(np.square(np.asarray(leaf, np.float64))))
                for name, leaf in flatten_dict(tree, sep="/").items()
            }
        except UserError as error:  # the shapes can be given even so
            problem = _short(error, run)
    return {
        "problem": problem,
        "total": _rows(shapes, squares, 1),
        "leaves": _rows(shapes, squares, depth) if depth != 0 else [],
    }


def _rows(shapes: dict, squares: dict | None, depth: int | None) -> list[dict]:
    """A row for each name of at most ``depth`` parts; those beyond it are added up."""
    groups: dict[str, list[str]] = {}
    for name in shapes:
        groups.setdefault("/".join(name.split("/")[:depth]), []).append(name)
    rows = []
    for group, names in groups.items():
        leaf = shapes[group] if names == [group] else None
        types = {np.dtype(shapes[name].dtype).name for name in names}
        norm = None if squares is None else sum(squares[name] for name in names) ** 0.5
        rows.append(
            {
                "name": group,
                "shape": None if leaf is None else list(leaf.shape),
                "dtype": types.pop() if len(types) == 1 else "mixed",
                "arrays": len(names),
                "count": sum(int(np.prod(shapes[name].shape)) for name in names),
                "norm": norm,
            }
        )
    return rows


def _last_row(node: Node, name: str) -> dict | None:
    if not (node.path / name).exists():
        return None
    rows = read_rows(node.path, name)
    refuse_if(not rows, f"no row of {name} can be read")
    return dict(rows[-1])


def _results(node: Node) -> list[dict]:
    """The rows of a probe, each with what a table needs."""
    rows = list(node.meta.get("results") or [])
    for row in rows:
        low, high = row["interval"]
        float(row["accuracy"] + low + high), row["dataset"], row["evaluator"]
        int(row["n_test"])
    return rows


def _report(node: Node) -> list[str]:
    found = [str(path) for path in sorted(node.path.glob("report.*"))]
    refuse_if(node.finished and not found, "the report's file is missing")
    return found


def _features(node: Node) -> dict[str, Any]:
    """Split -> its shape, or that it is not kept."""
    found, broken = {}, []
    for split in SPLITS:
        path = node.path / f"{split}.npy"
        if not path.exists():
            found[split] = "not kept"
        elif is_intact(node.path, split):
            found[split] = "x".join(map(str, np.load(path, mmap_mode="r").shape))
        else:
            broken.append(split)
    if broken:
        found["problem"] = f"damaged: {', '.join(broken)}"
    return found


def _ledger(node: Node) -> dict[str, Any]:
    """The bill: images used and left of the limit, calls, values."""
    counted = bills(node.path / LEDGER, make_plan(node.recipe).accounts)
    counters = total(counted, node.recipe["total_image_limit"])
    limit, used = counters["limit"], counters["images"]
    facts = {
        "limit": limit,
        "used": used,
        "left": None if limit is None else limit - used,
        "unique": counters["unique_images"],
        "calls": counters["calls"],
        "values": counters["values"],
        "cost": counters["cost"],
        **({"accounts": counted} if len(counted) > 1 else {}),
    }
    ended = node.meta.get("queries"), node.meta.get("accounts")
    if node.finished and (counters, counted) != ended:
        facts["problem"] = f"{LEDGER} is not what the run ended with"
    return facts


# Stage -> what its runs have to show, and how it is read.
RESULTS: dict[str, tuple[str, Callable[[Node], Any]]] = {
    "responses": ("ledger", _ledger),
    "probe": ("results", _results),
    "features": ("features", _features),
    "fidelity": ("fidelity", lambda node: node.meta.get("fidelity", {})),
    "report": ("report", _report),
}


def workdir_facts(path: Path) -> dict:
    """The runs of a workdir; no weights and no ledgers are read."""
    nodes = lineage(path)

    def facts(node: Node) -> dict[str, Any]:
        below = []
        if node.stage in TRAINING:  # its probes stand on its features
            below = [nodes[key] for key in node.children]
            below += [
                nodes[k] for n in below if n.stage == "features" for k in n.children
            ]
        probes = [n for n in (node, *below) if n.stage == "probe"]
        results = [_piece(n.path, _results, n) for n in probes]
        return {
            "stage": node.stage,
            "problem": node.problem,
            **state(node),
            "parents": node.parents,
            "missing": [p for p in node.parents.values() if p not in nodes],
            "children": node.children,
            "queries": node.meta.get("queries"),
            "results": sum((rows for rows in results if isinstance(rows, list)), []),
            "report": _piece(node.path, _report, node)
            if node.stage == "report"
            else None,
        }

    return {
        "workdir": str(path),
        "runs": {n.key: facts(n) for n in nodes.values()},
    }


def main(argv: list[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="sslx inspect", description="Shows a run or a whole workdir."
    )
    parser.add_argument("path", metavar="PATH", help="a run directory, or a workdir")
    parser.add_argument(
        "--depth", type=int, metavar="N", help="parts of a weight's name to tell apart"
    )
    parser.add_argument(
        "--no-norms", action="store_true", help="leave the weights unread"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    args = parser.parse_args(argv)
    refuse_if(
        args.depth is not None and args.depth < 0,
        f"--depth must be 0 or more, not {args.depth}",
    )
    facts = look(args.path, depth=args.depth, norms=not args.no_norms)
    print(json.dumps(facts, indent=1) if args.json else as_text(facts))
