"""Stage responses: the plan is sent to the service call by call, and paid for.

What theft stages read of it afterwards is here, too: ``answered`` and ``bill``.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path

import numpy as np

from sslx.attacks.cleaning import Answered
from sslx.context import Context, pool
from sslx.data.views import is_plain, make_asked
from sslx.embed.classifier import CLASSIFIED, answering
from sslx.embed.finished import KINDS, open_run
from sslx.embed.forward import embed_untrained
from sslx.progress import progress
from sslx.queries.choosers import PLANS, STREAM, drawn, refined
from sslx.queries.plan import Call, Plan, images_of, make_plan, shares
from sslx.registry import pick
from sslx.rng import host_stream, stream
from sslx.runs.files import read_json, save_array, write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.service import Embed, Service, calibrate, make_defence, read_answers, serve
from sslx.service.bills import LEDGER, bills, total
from sslx.service.defences.defence import Gradient
from sslx.service.readers import mean_notes
from sslx.service.secret import read_secret
from sslx.service.terms import LIMITS
from sslx.types import UserError, refuse_if


def _plan_file(run: Run, round_: int) -> Path:
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
    run: Run, plan: Plan, calls: Sequence[Call], images: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Views (n, v, ...) and answers (n, v, d) of calls made, of the chosen rows."""
    asked = make_asked(images, rows, run.recipe)
    answers = np.empty((len(asked), run.recipe["dim"]), np.float32)
    for account in reversed(plan.accounts):  # of anchors the first account's count
        own = [call for call in calls if call.account == account]
        if own:
            which = np.concatenate([call.queries for call in own])
            names = [call.name for call in own]
            ledger = run.path / LEDGER
            answers[which] = read_answers(ledger, account, names, asked[which])
    split = (len(rows), plan.views)
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
    plan: Plan,
    round_: int,
    images: np.ndarray,
    features: Callable[[], np.ndarray],
) -> np.ndarray:
    """Chooses the rows of a round and writes them down; those written stay."""
    r, path = run.recipe, _plan_file(run, round_)
    before = _chosen(run, round_)
    if path.exists():
        return _chosen(run, round_ + 1)[len(before) :]
    chooser, known = pick(PLANS, r["plan"], "plan"), None
    if chooser.needs_features:
        known = features()
        if round_:
            made = [call for done in plan.rounds[:round_] for call in done.calls]
            _, answers = _read(run, plan, made, images, before)
            if r["output"] == "label":  # a class's number is no quantity
                answers = np.eye(r["classes"], dtype=np.float32)[
                    answers[..., 0].astype(int)
                ]
            known = refined(known, before, answers.mean(axis=1), ridge=r["ridge"])
    free = np.setdiff1d(np.arange(len(images)), before)
    random, count = host_stream(r["seed"], STREAM, round_), plan.rounds[round_].images
    rows = chooser.choose(random, free, count, known, **r["plan_numbers"])
    save_array(path, np.asarray(rows, np.int64))
    return rows


def embed_of(run: Run) -> Embed:
    """What the victim answers before any defence, from the recipe of what asks it."""
    victim, classifier = run.parents["victim"].path, run.parents.get("classifier")
    return answering(victim, classifier and classifier.path, run.recipe["output"])


def _gradient_of(run: Run) -> Gradient | None:
    """That of the victim's answers; None where a classifier or an API gives them."""
    output, victim = run.recipe["output"], open_run(run.parents["victim"].path)
    if output in CLASSIFIED or victim.meta.get("origin") in KINDS:
        return None
    return partial(victim.gradient, output=output)


def serve_run(run: Run, context: Context) -> Service:
    """The victim behind its service, from the recipe of what asks it."""
    r, embed = run.recipe, embed_of(run)
    measured = None
    if "calibration" in r:
        measured = calibrate(embed(pool(r["calibration"], context).load()))
    # Without a file whoever knows the victim's run knows its secret.
    secret = hashlib.sha256(f"secret of {run.parents['victim'].key}".encode()).digest()
    if "secret" in r:
        secret = read_secret(context.files[r["secret"]])
    return serve(
        run.path / LEDGER,
        embed,
        **{key: r[key] for key in LIMITS},
        price=r["price"],
        repeats=r["repeats"],
        image_shape=tuple(open_run(run.parents["victim"].path).meta["image_shape"]),
        dim=r.get("raw_dim", r["dim"]),
        defence=make_defence(r["defence"].split("+"), r.get("defence_numbers", {})),
        secret=secret,
        calibration=measured,
        gradient=_gradient_of(run),
    )


def make(run: Run, context: Context) -> None:
    """Sends a plan to the victim behind its service, and writes down the bill."""
    r = run.recipe
    with working_on(run, f"{r['queries']} images to ask") as needed:
        if not needed:
            return
        plan, images = make_plan(r), pool(r, context).load()
        features = cache(partial(_features, run, images))
        done = 0
        with (
            closing(serve_run(run, context)) as service,
            progress(r["queries"], 0, "queries", "image") as bar,
        ):
            # Paid before a kill; asked again for free.
            bar.update(sum(service.counters(name).images for name in plan.accounts))
            for round_, (_, calls) in enumerate(plan.rounds):
                rows = _choose(run, plan, round_, images, features)
                views = make_asked(images, rows, r)
                first = done  # of this round's queries
                for call in calls:
                    asked = views[call.queries - first]
                    service.query(call.account, asked, call.name)
                    done += len(call.queries)
                    bar.update(max(0, done - bar.n))
        counted = bills(run.path / LEDGER, plan.accounts)
        queries = total(counted, r["total_image_limit"])
        noted = mean_notes(run.path / LEDGER, plan.accounts)
        own = {"queries": queries, "accounts": counted, "noted": noted}
        write_meta(run, finished=True, **own)


def accounts_of(run: Run) -> np.ndarray:
    """Int (n, v): the account, counted from 0, that each view's answer came to."""
    plan = make_plan(run.recipe)
    out = np.empty(images_of(run.recipe) * plan.views, np.int64)
    for call in reversed(plan.calls):  # of anchors the first account's
        out[call.queries] = plan.accounts.index(call.account)
    return out.reshape(-1, plan.views)


def anchors_of(run: Run, asked: np.ndarray) -> np.ndarray | None:
    """float32 (accounts, k, d): what each account was answered to the anchors' k views.

    Args:
        run: The run that asked.
        asked: uint8 (n, v, h, w, c), all views in order.
    """
    plan = make_plan(run.recipe)
    if not plan.anchors:
        return None
    first, out = asked[: plan.anchors].reshape(-1, *asked.shape[2:]), []
    for account in plan.accounts:
        calls = [call for call in plan.calls if call.account == account]
        own = [call for call in calls if call.queries[-1] < len(first)]
        names = [call.name for call in own]
        out.append(read_answers(run.path / LEDGER, account, names, first))
    return np.stack(out)


def check_bill(run: Run) -> None:
    """Raises a UserError unless the ledger is what the finished run ended with."""
    counted = bills(run.path / LEDGER, make_plan(run.recipe).accounts)
    meta = read_json(run.path / "meta.json")
    ended = meta.get("queries"), meta.get("accounts")
    refuse_if(
        (total(counted, run.recipe["total_image_limit"]), counted) != ended,
        f"{run.path / LEDGER} is not what the run ended with; delete {run.path} to "
        "ask again",
    )


def unanswered(run: Run, context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Of a training without answers: the rows of the pool, and the images.

    They are the pool's, or those that are asked.

    Args:
        run: The training. Its recipe has ``asked`` where a plan that looks at nothing
            chooses them; else the run that asks them may be its parent ``asked``.
        context: Where they lie.
    """
    images, r = pool(run.recipe, context).load(), run.recipe
    if "asked" in r:
        each = shares(r["asked"]["images"], r["asked"]["rounds"])
        rows = drawn(r["seed"], len(images), each)
    elif asked := run.parents.get("asked"):
        rows = _chosen(asked, len(make_plan(asked.recipe).rounds))
    else:  # not in memory twice
        return np.arange(len(images)), images
    return rows, images[rows]


def answered(run: Run, context: Context) -> Answered:
    """What was asked and answered; the victim is not needed any more."""
    check_bill(run)
    plan = make_plan(run.recipe)
    images = pool(run.recipe, context).load()
    rows = _chosen(run, len(plan.rounds))
    asked, answers = _read(run, plan, plan.calls, images, rows)
    as_they_are = is_plain(run.recipe)  # then not in memory twice
    own = asked[:, 0] if as_they_are else images[rows]
    return Answered(rows, own, asked, answers)
