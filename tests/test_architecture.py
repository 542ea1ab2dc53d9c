import ast
import inspect
from pathlib import Path

import sslx
from sslx.attacks import ATTACKS
from sslx.data import SOURCES
from sslx.data.presets import PRESETS
from sslx.losses import LOSSES
from sslx.models import ENCODERS
from sslx.objectives import OBJECTIVES
from sslx.service import DEFENCES
from sslx.train.optim import OPTIMISERS

ROOT = Path(sslx.__file__).parent
# Floor -> the floors below that it may use; all may use types, registry and progress.
MAY = {
    "losses": set(),
    "models": set(),
    "data": set(),
    "service": set(),
    "evals": set(),
    "engine": set(),
    "objectives": {"losses", "models"},
    "attacks": {"objectives", "losses", "models"},
    "stages": {
        "attacks",
        "objectives",
        "losses",
        "models",
        "service",
        "engine",
        "data",
        "evals",
    },
}
FOR_ALL = ("types", "registry", "progress", "__version__")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_imports_run_downward():
    # Catches an engine that knows a method, a loss that knows a config, a cycle.
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders == set(MAY)
    for path in ROOT.rglob("*.py"):
        floor = path.relative_to(ROOT).parts[0]
        if floor not in MAY:
            continue
        for name in imports(path):
            if name.startswith("sslx."):
                used = name.split(".")[1]
                allowed = MAY[floor] | {floor, *FOR_ALL}
                assert used in allowed, f"{path} uses {name}"
            if name.startswith("ml_collections"):
                assert floor == "stages", f"{path} knows of configs"


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
    for table in (ATTACKS, DEFENCES, SOURCES, PRESETS, OPTIMISERS):
        assert table


def test_no_machine_of_ours_in_the_tree():
    # Catches a path of the machine it was written on.
    for path in [*ROOT.rglob("*.py"), *(ROOT.parent / "configs").glob("*.py")]:
        text = path.read_text()
        assert not any(f"/{top}/" in text for top in ("root", "work")), path
