"""Asking the victim: the plan is sent to the service call by call, and paid for."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sslx.data.views import is_plain, make_asked
from sslx.embed.finished import open_run
from sslx.embed.untrained import embed_untrained
from sslx.experiment.pools import open_pool
from sslx.experiment.responses import LIMITS, Call, accounts, rounds_of
from sslx.experiment.thefts import Cell
from sslx.progress import progress
from sslx.queries.plans import PLANS, refined, shares
from sslx.registry import pick
from sslx.rng import host_stream, stream
from sslx.runs.files import read_json, save_array, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.service import DEFENCES, read_answers, read_counters, serve
from sslx.stages import classifier
from sslx.types import UserError

LEDGER = "ledger.sqlite"


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
    key, how = stream(r["seed"], "untrained"), {"mean": r["mean"], "std": r["std"]}
    return embed_untrained(r["encoder"], key, images, **how)(images)


def _choose(
    run: Run,
    round_: int,
    images: np.ndarray,
    calls: list[Call],
    features: Callable[[], np.ndarray],
) -> np.ndarray:
    """Chooses the rows of a round and writes them down; those written stay."""
    r, path = run.recipe, _plan_file(run, round_)
    before = _chosen(run, round_)
    if path.exists():
        return _chosen(run, round_ + 1)[len(before) :]
    chooser, known = PLANS[r["plan"]], None
    if chooser.needs_features:
        known = features()
        if round_:
            _, answers = _read(run, calls, images, before)
            if r["output"] == "label":  # a class's number is no quantity
                answers = np.eye(r["classes"], dtype=np.float32)[
                    answers[..., 0].astype(int)
                ]
            known = refined(known, before, answers.mean(axis=1), ridge=r["ridge"])
    free = np.setdiff1d(np.arange(len(images)), before)
    count = shares(r["queries"] // r["views"], r["rounds"])[round_]
    random = host_stream(r["seed"], "plan", round_)
    rows = chooser.choose(random, free, count, known, **r["plan_numbers"])
    save_array(path, np.asarray(rows, np.int64))
    return rows


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
        service = serve(
            run.path / LEDGER,
            embed,
            **{key: r[key] for key in LIMITS},
            price=r["price"],
            repeats=r["repeats"],
            image_shape=tuple(victim.meta["image_shape"]),
            dim=r["dim"],
            defence=pick(DEFENCES, r["defence"], "defence", own=True),
            key=stream(r["seed"], "defence"),
        )
        images = open_pool(config, cell.pool, r["test_kept"]).load()
        # Paid before a kill; asked again for free.
        paid = sum(service.counters(name).images for name in accounts(r))
        features = cache(partial(_features, run, images))
        done = 0
        made: list[Call] = []
        with progress(r["queries"], paid, "queries", "image") as bar:
            for round_, calls in enumerate(rounds_of(r)):
                views = make_asked(
                    images, _choose(run, round_, images, made, features), r
                )
                first = done  # of this round's queries
                for call in calls:
                    asked = views[call.queries - first]
                    service.query(call.account, asked, call.name)
                    done += len(call.queries)
                    bar.update(max(0, done - bar.n))
                made += calls
        counted = {name: service.counters(name)._asdict() for name in accounts(r)}
        service.close()
        write_meta(run, finished=True, queries=total(counted, r), accounts=counted)


def total(counted: dict[str, dict], r: dict[str, Any]) -> dict[str, Any]:
    """The bills of all accounts of a responses run as one, from its recipe.

    An image that two accounts have sent counts as unique twice.
    """
    keys = next(iter(counted.values()))
    out = {key: sum(bill[key] for bill in counted.values()) for key in keys}
    if r["total_image_limit"] is not None:
        out["limit"] = min(out["limit"], r["total_image_limit"])
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
    meta = read_json(run.path / "meta.json")
    ended = meta.get("queries"), meta.get("accounts")
    if (total(counted, run.recipe), counted) != ended:
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
    calls = [call for calls in rounds_of(run.recipe) for call in calls]
    asked, answers = _read(run, calls, images, rows)
    as_they_are = is_plain(run.recipe)  # then not in memory twice
    own = asked[:, 0] if as_they_are else images[rows]
    return Answered(rows, own, asked, answers)
