"""Makes a shipped victim of a finished run: weights and card.

Command: python scripts/ship.py RUN NAME --dataset cifar10 --commit COMMIT
         --report WORKDIR/report/NAME/results.json

RUN is a victim that was trained on the part of the data set that was not held out. What
the report says of it are the card's accuracies; the report may be of the run itself or
of ``victim.source="shipped:NAME"``, the same weights.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a clone

import numpy as np
from safetensors.numpy import save

from sslx import data, open_run
from sslx.build import passes_of
from sslx.data.splits import divide
from sslx.embed import shipped
from sslx.models.torch_weights import to_torch
from sslx.models.weight_files import read_trunk
from sslx.runs.files import read_json
from sslx.runs.names import Run
from sslx.train import checkpoint
from sslx.types import UserError, refuse_if


def accuracies(report: Path, run: Path, weights: str) -> list[dict[str, Any]]:
    """What a report says of a victim, an entry for each data set and evaluator.

    Args:
        report: Its results.json, in the workdir of the runs that it is on.
        run: The victim's.
        weights: Digest of its encoder.

    Raises:
        UserError: The report is not of this run, nor of these weights.
    """
    out = []
    for record in read_json(report)["records"]:
        key = record["run"]
        if record["role"] != "victim":
            continue
        of = report.absolute().parents[2] / key
        recipe = read_json(of / "config.json")
        if of.resolve() == run.resolve() or recipe.get("weights") == weights:
            out += [
                {"dataset": record["dataset"], "evaluator": name}
                | {key: score[key] for key in ("accuracy", "interval", "n_test")}
                for name, score in record["scores"].items()
            ]
    refuse_if(
        not out,
        f"{report} says nothing of {run}, nor of a victim with its weights; give the "
        "report of this run, or of the shipped victim",
    )
    return out


def unseen(dataset: str, recipe: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Marks of the images that were held out, and how many others there were.

    Args:
        dataset: The name of the victim's data set.
        recipe: The victim's; its images are read in the form that it took.

    Raises:
        UserError: The set is not the one that the victim was trained on.
    """
    form = data.Options(**recipe["data"].get("form", {}))
    refuse_if(
        data.describe(dataset, form).identity != recipe["data"],
        f"{dataset} is not the set that the run was trained on",
    )
    ids = data.ids(dataset, "train", form)
    seen, held = divide(ids, recipe["held_out"], recipe["split_seed"])
    return data.marks(dataset, "train", form)[held], len(seen)


def ship(run: Path, name: str, dataset: str, commit: str, report: Path) -> None:
    """Writes NAME.safetensors and NAME.json into sslx/shipped/.

    Raises:
        UserError: Set or report are not those of the run.
    """
    recipe, meta = (read_json(run / f"{file}.json") for file in ("config", "meta"))
    trunk = open_run(run).variables()["encoder"]
    encoder, weights = recipe["encoder"], checkpoint.digest(trunk)
    told, (marks, images) = accuracies(report, run, weights), unseen(dataset, recipe)
    file = shipped.FOLDER / f"{name}.safetensors"
    arrays = to_torch(
        encoder["name"], trunk["params"], trunk["stats"], stem=encoder["kw"]["stem"]
    )
    file.write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
    refuse_if(
        checkpoint.digest(read_trunk(str(file), encoder)) != weights,
        f"{file} holds other weights than the run",
    )
    passes = passes_of(Run(run.parents[1], "victim", run.name, recipe, {}))
    work = {"passes": passes, "images": images}
    if meta.get("flops") is not None:
        work["flops"] = meta["flops"]
    facts = {
        **{key: recipe[key] for key in ("encoder", "image_shape", "mean", "std")},
        "dataset": dataset,
        "training": {"commit": commit, **work, "recipe": recipe},
        "accuracies": told,
        "weights": weights,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    text = shipped.card(facts, marks)
    file.with_suffix(".json").write_text(text, encoding="utf-8")
    print(json.dumps({"bytes": file.stat().st_size, "unseen": len(marks)}))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    for flag, kind in (("dataset", str), ("commit", str), ("report", Path)):
        parser.add_argument(f"--{flag}", type=kind, required=True)
    try:
        ship(**vars(parser.parse_args()))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
