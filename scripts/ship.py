"""Makes a shipped victim of a finished run: weights and card.

Command: python scripts/ship.py RUN NAME --dataset cifar10 --commit COMMIT
         --report WORKDIR/report/NAME/results.json

RUN is a victim that was trained on the part of the data set that was not held out. The
report's rows of that victim are the card's accuracies.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

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


def main() -> None:
    """Writes NAME.safetensors and NAME.json into sslx/shipped/."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    recipe = read_json(args.run / "config.json")
    trunk = open_run(args.run).variables()["encoder"]
    encoder = recipe["encoder"]
    file = shipped.FOLDER / f"{args.name}.safetensors"
    arrays = to_torch(
        encoder["name"], trunk["params"], trunk["stats"], stem=encoder["kw"]["stem"]
    )
    file.write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
    read = read_trunk(str(file), encoder)
    if checkpoint.digest(read) != checkpoint.digest(trunk):
        sys.exit("the file holds other weights than the run")
    ids = data.ids(args.dataset, "train")
    _, held = divide(ids, recipe["held_out"], recipe["split_seed"])
    run = Run(args.run.parents[1], "victim", args.run.name, recipe, {})
    rows = read_json(args.report)["rows"] if args.report else []
    keys = ("dataset", "evaluator", "accuracy", "interval", "n_test")
    facts = {
        **{key: recipe[key] for key in ("encoder", "image_shape", "mean", "std")},
        "dataset": args.dataset,
        "training": {"commit": args.commit, "passes": passes_of(run), "recipe": recipe},
        "accuracies": [
            {key: row[key] for key in keys} for row in rows if row["role"] == "victim"
        ],
        "weights": checkpoint.digest(read),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    text = shipped.card(facts, data.marks(args.dataset, "train")[held])
    file.with_suffix(".json").write_text(text, encoding="utf-8")
    print(json.dumps({"bytes": file.stat().st_size, "unseen": len(held)}))


if __name__ == "__main__":
    main()
