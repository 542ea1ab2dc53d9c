"""Stage honest: what a defended service is worth to those who mean no harm.

Each user is an account of its own. He trains a linear classifier on the answers to
about half of his images and has it classify the others. What a defence costs him, the
same users of the service without it tell.
"""

from collections.abc import Iterable
from contextlib import closing
from time import perf_counter

import numpy as np

from sslx.context import Context, kept_rows
from sslx.data.presets import PRESETS
from sslx.data.views import make_views
from sslx.evals.intervals import effective_size, wilson
from sslx.evals.linear import probe
from sslx.progress import progress
from sslx.queries.honest import USERS, Sent, Shop
from sslx.registry import pick
from sslx.rng import host_stream
from sslx.runs.files import write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.service import Service
from sslx.service.bills import LEDGER, bills, total
from sslx.service.readers import mean_notes
from sslx.stages.answers import serve_run


def accounts_of(r: dict) -> list[str]:
    """The users of a run, by its recipe."""
    return [f"{r['user']}{i + 1}" for i in range(r["users"])]


def make(run: Run, context: Context) -> None:
    """Has users of one kind and size ask, and judges what they get."""
    r = run.recipe
    with working_on(run, f"{r['users']} users, {r['size']} images each") as needed:
        if not needed:
            return
        images, shop = _shop(r, context)
        user, accounts = pick(USERS, r["user"], "user"), accounts_of(r)
        right, asked, seconds = [], [], []
        with (
            closing(serve_run(run, context)) as service,
            progress(r["size"] * len(accounts), 0, "users", "image") as bar,
        ):
            for i, account in enumerate(accounts):
                # Each draws by himself; of several domains the users take turns.
                random = host_stream(r["seed"], f"honest {r['user']} {r['size']}", i)
                turned = (shop.domains - i) % (shop.domains.max() + 1)
                sent = user(random, shop._replace(domains=turned), r["size"])
                shown = _shown(run, images, sent)
                start = perf_counter()
                answers = _ask(service, account, shown, r["call_size"])
                seconds.append((perf_counter() - start) / r["size"])
                right.append(_right(r, answers, shop.only(sent.rows), sent.trains))
                asked.append(shop.groups[sent.rows][~sent.trains])
                bar.update(r["size"])
        counted = bills(run.path / LEDGER, accounts)
        write_meta(
            run,
            finished=True,
            sets=[context.place(on["data"]).title for on in (r, *r.get("beside", ()))],
            results=[_row(run, context, np.concatenate(right), np.concatenate(asked))],
            queries=total(counted, None),
            accounts=counted,
            noted=mean_notes(run.path / LEDGER, accounts),
            # The first user waits for what is compiled.
            seconds_per_answer=float(np.median(seconds[1:] or seconds)),
        )


def _shop(r: dict, context: Context) -> tuple[np.ndarray, Shop]:
    """The test images that users choose from, set after set."""
    parts = []
    for on in (r, *r.get("beside", ())):
        place, rows = context.place(on["data"]), kept_rows(on, context)
        split = place.load("test")
        parts.append((split.images[rows], split.labels[rows], place.ids("test")[rows]))
    images, labels, ids = zip(*parts, strict=True)
    domains = np.repeat(np.arange(len(parts)), [len(part) for part in images])
    return np.concatenate(images), Shop(_numbered(labels), _numbered(ids), domains)


def _numbered(parts: Iterable[np.ndarray]) -> np.ndarray:
    """A number for each different value of each part."""
    found, first = [], 0
    for part in parts:
        values, own = np.unique(part, return_inverse=True)
        found.append(own + first)
        first += len(values)
    return np.concatenate(found)


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


def _right(r: dict, x: np.ndarray, sent: Shop, trains: np.ndarray) -> np.ndarray:
    """Whether each image that he has classified is put into its class."""
    known, own = np.unique(sent.labels, return_inverse=True)
    found = probe(
        *(x[trains], own[trains], x[~trains]),
        classes=len(known),
        l2_grid=tuple(r["l2_grid"]),
        validation_fraction=r["validation"],
        tolerance=r["tolerance"],
        max_iterations=r["max_iterations"],
        seed=r["seed"],
        groups=sent.groups[trains],
        cross_validated=True,
    )
    return found.predictions == own[~trains]


def _row(run: Run, context: Context, right: np.ndarray, asked: np.ndarray) -> dict:
    n, hits, r = len(right), int(right.sum()), run.recipe
    worth = effective_size(right, asked)  # users share images, and frames show one
    return {
        "dataset": context.place(r["data"]).title,
        "evaluator": "linear",
        "accuracy": hits / n,
        "interval": list(wilson(hits, n, confidence=r["confidence"], effective=worth)),
        "n_test": n,
    }
