"""The encoder behind its query interface: all that an attack sees of a victim."""

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from sslx.service import ledger as ledgers
from sslx.service.accounts import admit, check_accounts, register
from sslx.service.answering import Embed, Provider, answer_new, make_provider, seals
from sslx.service.bills import Counters, count, count_all, spent
from sslx.service.database import check_name, one_line, transaction
from sslx.service.defences.defence import Calibration, Defence, Gradient
from sslx.service.ledger import Ledger
from sslx.service.opening import open_ledger
from sslx.service.puzzles import Proof, prepare, take
from sslx.service.terms import Terms, check_budget, check_terms
from sslx.types import UserError, refuse_if


class Service(NamedTuple):
    """A victim behind its query interface.

    Attributes:
        query: ``(account, images, call=None, *, api_key=None, proof=None) -> answers``.
            Images are
            uint8 (b, h, w, c) in 0..255, answers float32 (b, out) in the images'
            order, out as wide as the defence makes them. One query is one image sent.
            A call id that the account used before gives the stored answers and counts
            nothing; None counts as a new call each time. An image seen before counts in
            images, values and cost, not in unique images. Raises ``BudgetExceeded``
            where the call would pass a limit, and ``UserError`` for an account or key
            that is not known, for images of another type or shape, for an id that asked
            other images before, and for a damaged file. What raises leaves the account
            as it was. Where puzzles are demanded and new images cost hashes, it raises
            ``PaymentRequired``, whose puzzle ``solve`` makes a proof of.
        counters: ``account -> Counters``, all zero for an account that never asked.
        accounts: ``() -> names`` of those that asked, sorted.
        close: ``() -> None``, gives the file back. Nothing waits to be written.
    """

    query: Callable[..., np.ndarray]
    counters: Callable[[str], Counters]
    accounts: Callable[[], list[str]]
    close: Callable[[], None]


def serve(
    path: str | os.PathLike,
    embed: Embed,
    *,
    image_limit: int | None,
    image_shape: Sequence[int],
    dim: int,
    defence: Defence,
    secret: bytes | None = None,
    calibration: Calibration | None = None,
    gradient: Gradient | None = None,
    call_limit: int | None = None,
    total_image_limit: int | None = None,
    total_call_limit: int | None = None,
    price: float = 0.0,
    repeats: str = "memoised",
    accounts: Mapping[str, str] | None = None,
    puzzles: bool = False,
) -> Service:
    """Opens a service on its file of answers, which is made if it is missing.

    Several processes may serve one file; one call is answered at a time. A service is
    used from the thread that opened it.

    Args:
        path: The sqlite3 file, in a folder that exists. A new one may be read by its
            owner alone (mode 600): a defence that draws keeps each account's own key
            in it, and who has that knows the account's matrices.
        embed: The victim, deterministic: uint8 (b, h, w, c) in 0..255 to (b, dim). It
            is given the images of a call that are not answered from the store.
        image_limit: Images each account may send, None for no limit.
        image_shape: (h, w, c) of the images.
        dim: Numbers per answer of the victim.
        defence: What is done to the answers; see ``Defence``.
        secret: 16 bytes or more that a defence's keys are made of. They are in no file:
            a digest of them is, and of keys made of them those of accounts. A file is
            opened with no others.
        calibration: Of the victim's answers, for a defence that wants it; see
            ``calibrate``. A file keeps its digest, too.
        gradient: Of the victim, for a defence that wants it.
        call_limit: Calls each account may make, None for no limit.
        total_image_limit: Images all accounts together may send, None for no limit.
        total_call_limit: Calls all accounts together may make, None for no limit.
        price: USD per image sent, 0 or more.
        repeats: What an image sent again is answered. ``memoised``: what it was
            answered first, from the store; within a call it is embedded once.
            ``fresh``: victim and defence answer anew, in each call and for each row.
        accounts: Name -> API key of accounts to be added to those that the file knows;
            all of those may ask here, with their keys. None: any name may ask, and no
            key is looked at. A file is for one or the other.
        puzzles: Whether the hashes that the defence demands are to be proven. False:
            they are only noted.

    Raises:
        UserError: The file is damaged, or was made for other terms (limits, shape,
            dim, price, repeats, secret, calibration, defence, with keys or without);
            terms that cannot be kept; a defence that wants what is not given; an
            account that the file knows with another key.
    """
    shape = tuple(int(n) for n in image_shape)
    provider = make_provider(embed, int(dim), defence, secret, calibration, gradient)
    terms = Terms(
        int(defence.out_dim(int(dim))),
        shape,
        image_limit,
        call_limit,
        total_image_limit,
        total_call_limit,
        float(price),
        repeats,
        accounts is not None,
        **seals(provider),
        defence=defence.called,
    )
    check_terms(terms)
    check_accounts(accounts or {})
    ledger = open_ledger(path, terms)
    try:
        register(ledger, accounts or {})
        if puzzles:
            prepare(ledger)
    except BaseException:
        ledger.db.close()
        raise

    def query(
        account: str,
        images: np.ndarray,
        call: str | None = None,
        *,
        api_key: str | None = None,
        proof: Proof | None = None,
    ) -> np.ndarray:
        _check_names(account, call)
        if terms.api_keys:
            admit(ledger, account, api_key)
        _check_images(images, shape)
        # The victim works under the write lock: no two processes then pay for one
        # image twice, or spend the same rest of a budget.
        with transaction(ledger.db, ledger.path, "IMMEDIATE"):
            return _ask(ledger, provider, account, images, call, puzzles, proof)

    def counters(account: str) -> Counters:
        _check_names(account, None)
        with one_line(ledger.path):
            return count(ledger, account)

    def names() -> list[str]:
        with one_line(ledger.path):
            return list(count_all(ledger))

    return Service(query, counters, names, ledger.db.close)


def _check_names(account: str, call: str | None) -> None:
    check_name("an account's name", account)
    refuse_if(
        call == "",
        "a call's id is empty: give one, or None for a new one",
    )
    if call is not None:
        check_name("a call's id", call)


def _check_images(images: np.ndarray, shape: tuple[int, ...]) -> None:
    wanted = f"uint8 images of shape (n, {', '.join(map(str, shape))}), n at least 1"
    if not isinstance(images, np.ndarray):
        raise UserError(f"expected {wanted}; got a {type(images).__name__}")
    refuse_if(
        images.dtype != np.uint8,
        f"expected {wanted}; got {images.dtype}",
    )
    refuse_if(
        images.shape[1:] != shape or len(images) == 0,
        f"expected {wanted}; got shape {images.shape}",
    )


def _ask(
    ledger: Ledger,
    provider: Provider,
    account: str,
    images: np.ndarray,
    call: str | None,
    puzzles: bool,
    proof: Proof | None,
) -> Float32[np.ndarray, "b d"]:
    """Answers a call, which is paid for unless it was made before."""
    hashes = [ledgers.image_hash(image) for image in images]
    before = None if call is None else ledgers.find_call(ledger, account, call)
    name = uuid.uuid4().hex if call is None else call
    ids = ledgers.answer_ids(ledger, name, hashes)
    if before is None:
        own, total = spent(ledger, account)
        check_budget(ledger.terms, account, len(images), own, total)
        pay = partial(take, ledger, account, hashes, proof)
        asked = account, images, hashes, ids
        answer_new(ledger, provider, *asked, pay if puzzles else _free)
        ledgers.add_call(ledger, account, name, hashes)
    elif before != hashes:
        raise UserError(
            f"call {call!r} of account {account!r} asked other images before; "
            "ask with another id"
        )
    return ledgers.read_stored(ledger, account, ids)


def _free(bits: float) -> None:
    """What is only noted is not to be paid."""
