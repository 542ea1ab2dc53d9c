"""Stage honest: what a defended service is worth to those who mean no harm.

Each user is an account of its own. He trains a linear classifier on the answers to one
half of his images and has it classify the other, on what the service gives him; beside
it the same on the victim's own answers.
"""

from collections.abc import Iterator
from contextlib import closing
from time import perf_counter

import numpy as np

from sslx.context import Context, kept_rows
from sslx.data.presets import PRESETS
from sslx.data.views import make_views
from sslx.evals.intervals import effective_size, wilson
from sslx.evals.linear import probe
from sslx.progress import progress
from sslx.queries.honest import USERS, Sent
from sslx.registry import pick
from sslx.rng import host_stream
from sslx.runs.files import write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.service import Service
from sslx.service.bills import LEDGER, bills, total
from sslx.service.readers import mean_notes
from sslx.stages.answers import embed_of, serve_run


def accounts_of(r: dict) -> list[str]:
    """The users of a run, by its recipe."""
    return [f"{r['user']}{i + 1}" for i in range(r["users"])]


def make(run: Run, context: Context) -> None:
    """Has users of one kind and size ask, and judges what they get."""
    r = run.recipe
    place, rows = context.place(r["data"]), kept_rows(run, context)
    with working_on(run, f"{r['users']} users, {r['size']} images each") as needed:
        if not needed:
            return
        split, accounts = place.load("test"), accounts_of(r)
        images, labels = split.images[rows], split.labels[rows]
        groups = np.unique(place.ids("test")[rows], return_inverse=True)[1]
        clean, right, seconds = embed_of(run), [], []
        with (
            closing(serve_run(run, context)) as service,
            progress(r["size"] * len(accounts), 0, "users", "image") as bar,
        ):
            for i, account in enumerate(accounts):
                # Nobody's images are a part of another's.
                random = host_stream(r["seed"], f"honest {r['user']} {r['size']}", i)
                user = pick(USERS, r["user"], "user")
                sent = user(random, labels, groups, r["size"])
                shown = _shown(run, images, sent)
                start = perf_counter()
                answers = _ask(service, account, shown, r["call_size"])
                seconds.append((perf_counter() - start) / r["size"])
                own = labels[sent.rows], groups[sent.rows]
                both = [
                    _right(r, x, *own, sent.trains) for x in (answers, clean(shown))
                ]
                right.append((*both, own[1][~sent.trains]))
                bar.update(r["size"])
        defended, plain, asked = map(np.concatenate, zip(*right, strict=True))
        counted = bills(run.path / LEDGER, accounts)
        write_meta(
            run,
            finished=True,
            results=list(_rows(run, place.title, defended, asked)),
            clean=list(_rows(run, place.title, plain, asked)),
            queries=total(counted, None),
            accounts=counted,
            noted=mean_notes(run.path / LEDGER, accounts),
            # The first user waits for what is compiled.
            seconds_per_answer=float(np.median(seconds[1:] or seconds)),
        )


def _shown(run: Run, images: np.ndarray, sent: Sent) -> np.ndarray:
    """The images that are sent, near duplicates made."""
    out, again = images[sent.rows], sent.views > 0
    if again.any():
        of = sent.rows[again], sent.views[again]
        out[again] = make_views(run.recipe["seed"], images, *of, PRESETS["frame"][0])
    return out


def _ask(service: Service, account: str, images: np.ndarray, size: int) -> np.ndarray:
    parts = range(0, len(images), size)
    return np.concatenate(
        [service.query(account, images[i : i + size], f"{i:07d}") for i in parts]
    )


def _right(
    r: dict, x: np.ndarray, labels: np.ndarray, groups: np.ndarray, trains: np.ndarray
) -> np.ndarray:
    """Whether each image that he has classified is put into its class."""
    known, own = np.unique(labels, return_inverse=True)
    found = probe(
        *(x[trains], own[trains], x[~trains]),
        classes=len(known),
        l2_grid=tuple(r["l2_grid"]),
        validation_fraction=r["validation"],
        tolerance=r["tolerance"],
        max_iterations=r["max_iterations"],
        seed=r["seed"],
        groups=groups[trains],
        cross_validated=True,
    )
    return found.predictions == own[~trains]


def _rows(
    run: Run, dataset: str, right: np.ndarray, asked: np.ndarray
) -> Iterator[dict]:
    n, hits, level = len(right), int(right.sum()), run.recipe["confidence"]
    worth = effective_size(right, asked)  # users share images, and frames show one
    interval = wilson(hits, n, confidence=level, effective=worth)
    yield {
        "dataset": dataset,
        "evaluator": "linear",
        "accuracy": hits / n,
        "interval": list(interval),
        "n_test": n,
    }
