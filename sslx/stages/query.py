"""Asking the victim: the plan is sent to the service call by call, and paid for."""

from functools import partial

import numpy as np
from ml_collections import ConfigDict

from sslx.attacks import ATTACKS
from sslx.engine.rng import host_stream, stream
from sslx.engine.rundir import Run, read_json, working_on, write_meta
from sslx.progress import progress
from sslx.service import DEFENCES, read_answers, read_counters, serve
from sslx.stages.experiment import Cell
from sslx.stages.link import open_run
from sslx.stages.pools import open_pool
from sslx.types import UserError

ACCOUNT = "attacker"
LEDGER = "ledger.sqlite"


def _planned(cell: Cell, config: ConfigDict):
    """The calls of a cell's plan, [(id, rows of the pool)], and the pool's images."""
    r = cell.responses.recipe
    pool = open_pool(config, cell.pool, r["test_kept"])
    random = host_stream(r["seed"], "plan")
    plan = ATTACKS[cell.attack].plan(random, pool.size, r["queries"])
    return plan.calls(r["call_size"]), pool.load()


def ask(cell: Cell, config: ConfigDict) -> None:
    """Sends a cell's plan to the victim behind its service."""
    run = cell.responses
    r = run.recipe
    with working_on(run, f"{r['queries']} images to ask") as needed:
        if not needed:
            return
        victim = open_run(run.parents["victim"].path)
        calls, images = _planned(cell, config)
        embed = partial(victim.embed, output=r["output"])
        defence = DEFENCES[r["defence"]]
        dim = victim.meta.get("dim")  # of an API: not asked just for that
        if dim is None:
            dim = embed(np.zeros((1, *victim.meta["image_shape"]), np.uint8)).shape[1]
        service = serve(
            run.path / LEDGER,
            embed,
            image_limit=r["image_limit"],
            image_shape=tuple(victim.meta["image_shape"]),
            dim=dim,
            defence=defence,
            key=stream(r["seed"], "defence"),
        )
        paid = service.counters(ACCOUNT).images  # before a kill; asked again for free
        done = 0
        with progress(r["queries"], paid, "queries", "image") as bar:
            for call, rows in calls:
                service.query(ACCOUNT, images[rows], call)
                done += len(rows)
                bar.update(max(0, done - bar.n))
        queries = service.counters(ACCOUNT)._asdict()
        service.close()
        write_meta(run, finished=True, queries=queries)


def bill(run: Run) -> dict[str, int]:
    """The counters of a finished responses run, as its ledger has them.

    Raises:
        UserError: The ledger is damaged, or no longer what the run ended with.
    """
    counters = read_counters(run.path / LEDGER, ACCOUNT)._asdict()
    if counters != read_json(run.path / "meta.json")["queries"]:
        raise UserError(
            f"{run.path / LEDGER} is not what the run ended with; delete {run.path} to "
            "ask again"
        )
    return counters


def answered(cell: Cell, config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """The images asked and the stored answers: uint8 (n, h, w, c), float32 (n, d)."""
    bill(cell.responses)
    calls, images = _planned(cell, config)
    asked = images[np.concatenate([rows for _, rows in calls])]
    ledger = cell.responses.path / LEDGER
    return asked, read_answers(ledger, ACCOUNT, [call for call, _ in calls], asked)
