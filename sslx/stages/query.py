"""Asking the victim: the plan is sent to the service call by call, and paid for."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx.attacks.attack import Plan
from sslx.attacks.plans import PLANS, refined, shares
from sslx.engine.rng import host_stream, stream
from sslx.engine.rundir import Run, read_json, working_on, write_meta
from sslx.models import make_encoder
from sslx.progress import progress
from sslx.service import DEFENCES, read_answers, read_counters, serve
from sslx.stages import classifier
from sslx.stages.asked import make_asked
from sslx.stages.link import embedder, open_run, untrained
from sslx.stages.pools import open_pool
from sslx.stages.thefts import Cell
from sslx.types import UserError

LEDGER = "ledger.sqlite"


class Call(NamedTuple):
    """One call: who makes it, its id, and which queries of all rounds it is."""

    account: str
    name: str
    queries: np.ndarray


class Answered(NamedTuple):
    """What a theft has to train on; n images, v views of each, d numbers an answer.

    Attributes:
        rows: (n,) of the pool.
        images: uint8 (n, h, w, c), the pool's.
        asked: uint8 (n, v, h, w, c), the views that were sent.
        answers: float32 (n, v, d).
    """

    rows: np.ndarray
    images: np.ndarray
    asked: np.ndarray
    answers: np.ndarray


def accounts(r: dict[str, Any]) -> list[str]:
    """The names of the attacker's accounts."""
    if r["accounts"] == 1:
        return ["attacker"]
    return [f"attacker{i + 1}" for i in range(r["accounts"])]


def _calls(r: dict[str, Any]) -> list[list[Call]]:
    """The calls of each round; the accounts take turns."""
    names, rounds = accounts(r), []
    made = sent = 0
    for count in shares(r["queries"] // r["views"], r["rounds"]):
        plan = Plan(np.arange(count), r["views"])
        calls = plan.calls(r["call_size"], made)
        rounds.append(
            [
                Call(names[(made + i) % len(names)], name, sent + queries)
                for i, (name, queries) in enumerate(calls)
            ]
        )
        made, sent = made + len(calls), sent + count * r["views"]
    return rounds


def _plan_file(run: Run, round_: int):
    return run.path / f"plan-{round_}.npy"


def _chosen(run: Run, rounds: int) -> np.ndarray:
    """The rows of the pool that the first rounds ask, as they were written down."""
    parts = [np.zeros(0, np.int64)]
    for round_ in range(rounds):
        path = _plan_file(run, round_)
        try:
            parts.append(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError):
            raise UserError(
                f"{path} is missing or damaged; delete {run.path} to ask again"
            ) from None
    return np.concatenate(parts)


def _read(
    run: Run, calls: Sequence[Call], images: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Views (n, v, ...) and answers (n, v, d) of calls made, of the chosen rows."""
    r = run.recipe
    asked = make_asked(images, rows, r)
    answers = np.empty((len(asked), r["dim"]), np.float32)
    for account in accounts(r):
        own = [call for call in calls if call.account == account]
        if own:
            which = np.concatenate([call.queries for call in own])
            names = [call.name for call in own]
            ledger = run.path / LEDGER
            answers[which] = read_answers(ledger, account, names, asked[which])
    split = (len(rows), r["views"])
    return asked.reshape(*split, *asked.shape[1:]), answers.reshape(*split, -1)


def _features(run: Run, images: np.ndarray) -> np.ndarray:
    """Of the pool, by the encoder that chooses among it."""
    r = run.recipe
    if "ssl" in run.parents:
        return open_run(run.parents["ssl"].path).embed(images)
    encoder = make_encoder(r["encoder"]["name"], **r["encoder"]["kw"])
    how = {"mean": r["mean"], "std": r["std"]}
    variables = untrained(encoder, stream(r["seed"], "untrained"), images, **how)
    shape = images.shape[1:]
    return embedder(encoder, variables, image_shape=shape, **how)(images)


def _choose(run: Run, round_: int, images: np.ndarray, calls: list[Call]) -> np.ndarray:
    """Chooses the rows of a round and writes them down; those written stay."""
    r, path = run.recipe, _plan_file(run, round_)
    if path.exists():
        return _chosen(run, round_ + 1)
    before = _chosen(run, round_)
    count = shares(r["queries"] // r["views"], r["rounds"])[round_]
    chooser, features = PLANS[r["plan"]], None
    if chooser.needs_features:
        features = _features(run, images)
        if round_:
            _, answers = _read(run, calls, images, before)
            mean = answers.mean(axis=1)
            features = refined(features, before, mean, ridge=r["ridge"])
    free = np.setdiff1d(np.arange(len(images)), before)
    random = host_stream(r["seed"], "plan", round_)
    rows = chooser.choose(random, free, count, features, **r["plan_numbers"])
    fresh = path.with_suffix(".tmp")
    with open(fresh, "wb") as file:
        np.save(file, np.asarray(rows, np.int64))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return np.concatenate([before, rows])


def ask(cell: Cell, config: ConfigDict) -> None:
    """Sends a cell's plan to the victim behind its service."""
    run = cell.responses
    assert run is not None
    r = run.recipe
    with working_on(run, f"{r['queries']} images to ask") as needed:
        if not needed:
            return
        victim = open_run(run.parents["victim"].path)
        embed = classifier.answering(
            run.parents["victim"], run.parents.get("classifier"), r["output"]
        )
        limits = ("image_limit", "call_limit", "total_image_limit", "total_call_limit")
        service = serve(
            run.path / LEDGER,
            embed,
            **{key: r[key] for key in limits},
            price=r["price"],
            repeats=r["repeats"],
            image_shape=tuple(victim.meta["image_shape"]),
            dim=r["dim"],
            defence=DEFENCES[r["defence"]],
            key=stream(r["seed"], "defence"),
        )
        images = open_pool(config, cell.pool, r["test_kept"]).load()
        # Paid before a kill; asked again for free.
        paid = sum(service.counters(name).images for name in accounts(r))
        done = 0
        made: list[Call] = []
        with progress(r["queries"], paid, "queries", "image") as bar:
            for round_, calls in enumerate(_calls(r)):
                rows = _choose(run, round_, images, made)
                views = make_asked(images, rows, r)
                for call in calls:
                    service.query(call.account, views[call.queries], call.name)
                    done += len(call.queries)
                    bar.update(max(0, done - bar.n))
                made += calls
        counted = {name: service.counters(name)._asdict() for name in accounts(r)}
        service.close()
        write_meta(run, finished=True, queries=total(counted), accounts=counted)


def total(counted: dict[str, dict]) -> dict[str, Any]:
    """The bills of several accounts as one."""
    if len(counted) == 1:
        return dict(*counted.values())
    out: dict[str, Any] = {}
    for key in next(iter(counted.values())):
        values = [counters[key] for counters in counted.values()]
        out[key] = None if None in values else sum(values)
    return out


def bill(run: Run | None) -> dict[str, dict[str, Any]]:
    """Account -> counters of a finished responses run, as its ledger has them.

    None at all of a theft that does not ask.

    Raises:
        UserError: The ledger is damaged, or no longer what the run ended with.
    """
    if run is None:
        return {}
    counted = {
        name: read_counters(run.path / LEDGER, name)._asdict()
        for name in accounts(run.recipe)
    }
    if counted != read_json(run.path / "meta.json").get("accounts"):
        raise UserError(
            f"{run.path / LEDGER} is not what the run ended with; delete {run.path} to "
            "ask again"
        )
    return counted


def answered(cell: Cell, config: ConfigDict) -> Answered:
    """What was asked and answered; the victim is not needed any more."""
    run = cell.responses
    assert run is not None
    bill(run)
    images = open_pool(config, cell.pool, run.recipe["test_kept"]).load()
    rows = _chosen(run, run.recipe["rounds"])
    calls = [call for calls in _calls(run.recipe) for call in calls]
    asked, answers = _read(run, calls, images, rows)
    return Answered(rows, images[rows], asked, answers)
