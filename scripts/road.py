"""What a reader has to open: python scripts/road.py [statements|step|ledger].

``statements`` counts those of sslx/ (docstrings left out). The other two run a small
experiment from its config on, and name the files that stand on the call stack when
something is decided: on the way to the first training step the victim's recipe, its
objective and optimiser, the rows of a batch, its place, the step; on the way from
``steal.queries`` to the ledger the recipe of the answers, the plan, the call's row. The
key's home, configs/default.py, counts, too. Older trees can be measured as well.
"""

import ast
import os
import sys
import tempfile
from pathlib import Path

ROOT = f"{os.getcwd()}/"
# Function -> how its file ends, where a name alone does not tell.
DECIDED = {
    "step": {
        "victim_run": "",
        "unlabelled": "",
        "make_optimiser": "",
        "make_objective": "",
        "simclr": "",
        "rows_at": "",
        "place": "mesh.py",
        "update": "step.py",
    },
    "ledger": {
        "responses_run": "",
        "make_plan": "",
        "rounds_of": "",  # what it was before
        "shares": "",
        "accounts": "responses.py",
        "add_call": "",
    },
}


class Arrived(BaseException):
    """The end of the road."""


def statements() -> int:
    """Of sslx/, docstrings left out."""
    total = 0
    for path in Path("sslx").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            total += isinstance(node, ast.stmt)
            documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
            total -= isinstance(node, documented) and bool(ast.get_docstring(node))
    return total


def road(goal: str) -> list[str]:
    """The files on the way, sorted."""
    sys.path.insert(0, ROOT)
    from configs import digits_direct

    try:
        from sslx.program import run
    except ImportError:  # before there was one
        from sslx.stages import run
    found = {"configs/default.py"}
    decided, last = DECIDED[goal], list(DECIDED[goal])[-1]

    def look(frame, event, _):
        code = frame.f_code
        ours = event == "call" and code.co_filename.startswith(f"{ROOT}sslx/")
        name = code.co_name
        if not ours or not code.co_filename.endswith(decided.get(name, "no such end")):
            return
        while frame is not None:
            if frame.f_code.co_filename.startswith(f"{ROOT}sslx/"):
                found.add(frame.f_code.co_filename.removeprefix(ROOT))
            frame = frame.f_back
        if name == last:
            raise Arrived

    c = digits_direct.get_config()
    if "also" in c.steal:
        c.steal.also = ()
    c.study.grid = ()
    c.victim.steps = c.steal.steps = 4
    c.stages = ("victim",) if goal == "step" else ("victim", "steal")
    with tempfile.TemporaryDirectory() as folder:
        sys.setprofile(look)
        try:
            run(c, folder)
        except Arrived:
            pass
        finally:
            sys.setprofile(None)
    return sorted(found)


if __name__ == "__main__":
    for what in sys.argv[1:] or ["statements", "step", "ledger"]:
        if what == "statements":
            print(f"{statements()} statements")
        else:
            files = road(what)
            print(*files, f"{len(files)} files to the {what}", sep="\n")
