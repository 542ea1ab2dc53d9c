"""The floors of the house: what may import what, and how full a folder is."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sslx
from sslx.attacks import ATTACKS
from sslx.data import SOURCES
from sslx.data.presets import PRESETS
from sslx.losses import LOSSES
from sslx.models import ENCODERS
from sslx.objectives import OBJECTIVES
from sslx.service import DEFENCES
from sslx.stages import STAGES
from sslx.train.optim import OPTIMISERS

ROOT = Path(sslx.__file__).parent
# From the ground up; those of one floor do not know each other, but on the ground.
GROUND = {"hosts", "progress", "registry", "rng", "types", "version"}
FLOORS = [
    GROUND,
    {"runs"},
    {"losses", "models", "data", "evals", "shipped"},
    {"ownership", "service"},
    {"objectives"},
    {"queries", "train"},
    {"attacks"},
    {"embed"},
    {"build", "context"},
    {"experiment", "stages", "report"},
    {"program", "cli"},
]
# The package, what starts it, and where commands were before.
DOORS = {"__init__", "__main__", "inspect", "export"}
# Where each file is an entry of a table, or part of what those share.
TABLES = {"attacks", "service/defences", "data/sources", "stages"}
# The folders where a config may be seen.
CONFIGS = {"experiment", "program"}


def part(path, root):
    """The folder or root module that a file belongs to."""
    return path.relative_to(root).with_suffix("").parts[0]


def module(path, root):
    name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(path):
    """What a file imports, wherever in it: (as written, the module meant)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            assert node.module
            yield from ((node.module, a.name) for a in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names)


def graph(root):
    """Module -> the modules of ours that it imports."""
    files = {module(path, root): path for path in root.rglob("*.py")}
    found = {}
    for name, path in files.items():
        used = set()
        for base, what in imports(path):
            whole = f"{base}.{what}"
            used |= {whole if whole in files else base} & set(files)
        found[name] = used - {name}
    return found


def broken(root):
    """What is against the rules of the house, a line each."""
    level = {name: i for i, floor in enumerate(FLOORS) for name in floor}
    out = []
    for path in sorted(root.rglob("*.py")):
        here, where = part(path, root), path.relative_to(root)
        if here in DOORS:
            continue
        if here not in level:
            out.append(f"{where} stands on no floor")
            continue
        for base, what in imports(path):
            if base == "ml_collections" and here not in CONFIGS:
                out.append(f"{where} knows of configs")
            if base.split(".")[0] != "sslx":
                continue
            used = (base.split(".") + [what])[1]
            if used == "__version__" or used == here:
                continue
            below = level.get(used, 99) < level[here]
            if not below and not {used, here} <= GROUND:
                out.append(f"{where} looks up to {base}.{what}")
    for folder in sorted(p for p in root.rglob("*") if p.is_dir()):
        files = [p for p in folder.glob("*.py") if not p.name.startswith("__")]
        name = folder.relative_to(root).as_posix()
        most = 20 if name in TABLES else 12
        if len(files) > most:
            out.append(f"{name} has {len(files)} files, {most} are enough")
    return [*out, *circles(graph(root))]


def circles(used):
    """Circles of imports, found by taking away what imports nothing that is left."""
    left = dict(used)
    while free := [name for name, need in left.items() if not need & set(left)]:
        for name in free:
            del left[name]
    if not left:
        return []
    # What is left imports a circle or is in one; walk until a module comes twice.
    way = [min(left)]
    while way[-1] not in way[:-1]:
        way.append(min(left[way[-1]] & set(left)))
    return [" -> ".join(way[way.index(way[-1]) :])]


def test_the_house_stands():
    # Catches an engine that knows a method, a loss that knows a config, a circle, a
    # stage that knows a report, a folder that has become a hall.
    assert broken(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("losses/new.py", "from sslx.train import fit", "losses/new.py looks up to"),
        ("stages/new.py", "from sslx.report import page", "stages/new.py looks up to"),
        ("report/new.py", "import sslx.experiment.graph", "report/new.py looks up to"),
        ("evals/knn.py", "from sslx import data", "evals/knn.py looks up to"),
        ("progress.py", "from sslx.runs import names", "progress.py looks up to"),
        ("new.py", "", "new.py stands on no floor"),
        ("stages/new.py", "from ml_collections import ConfigDict", "knows of configs"),
        ("train/fit.py", "from sslx.train import fit2", "sslx.train.fit2 -> "),
    ],
)
def test_the_rules_bite(tmp_path, file, line, says):
    # Catches rules that let everything through.
    root = tmp_path / "sslx"
    for path in ROOT.rglob("*.py"):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (root / "train" / "fit2.py").write_text("from sslx.train import fit\n")
    with open(root / file, "a") as out:
        out.write(f"\n{line}\n")
    # A full folder may not have one more, which is no matter here.
    (found,) = (one for one in broken(root) if " files, " not in one)
    assert says in found


def test_a_hall_is_seen(tmp_path):
    # Catches a folder that may grow without end.
    for i in range(13):
        path = tmp_path / "sslx" / "evals" / f"part{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert broken(tmp_path / "sslx") == ["evals has 13 files, 12 are enough"]


def test_types_are_light():
    # Catches a package that imports everything when a type is wanted.
    def modules(what):
        code = f"import json, sys, {what}; print(json.dumps(sorted(sys.modules)))"
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        )
        return set(json.loads(out.stdout))

    more = modules("jax, numpy, sslx.types") - modules("jax, numpy")
    assert more <= {"sslx", *(f"sslx.{name}" for name in GROUND)}


def test_losses_have_no_numbers_of_their_own():
    # Catches a second home of a number beside the config.
    for name, loss in LOSSES.items():
        student, teacher, *rest = inspect.signature(loss).parameters.values()
        assert (student.name, teacher.name) == ("student", "teacher"), name
        for p in rest:
            assert p.kind is p.KEYWORD_ONLY and p.default is p.empty, (name, p)


def test_every_entry_says_where_it_comes_from():
    # Catches an entry without a docstring.
    for table in (LOSSES, OBJECTIVES, ENCODERS):
        for name, entry in table.items():
            assert entry.__doc__, name
    for name, loss in LOSSES.items():
        assert "20" in loss.__doc__, f"{name} names no paper"
    for table in (ATTACKS, DEFENCES, SOURCES, PRESETS, OPTIMISERS, STAGES):
        assert table


def test_no_machine_of_ours_in_the_tree():
    # Catches a path of the machine it was written on.
    for path in [*ROOT.rglob("*.py"), *(ROOT.parent / "configs").glob("*.py")]:
        text = path.read_text()
        assert not any(f"/{top}/" in text for top in ("root", "work")), path
