"""The encoder behind its query interface: all that an attack sees of a victim."""

import os
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import Float32

from sslx.service import ledger as ledgers
from sslx.service.accounts import admit, check_accounts, register
from sslx.service.counters import Counters, count, count_all, spent
from sslx.service.database import one_line, transaction
from sslx.service.defences import Defence, State
from sslx.service.ledger import Ledger
from sslx.service.terms import Terms, check_budget, check_terms
from sslx.types import UserError

Embed = Callable[[np.ndarray], np.ndarray]


class Service(NamedTuple):
    """A victim behind its query interface.

    Attributes:
        query: ``(account, images, call=None, *, api_key=None) -> answers``. Images are
            uint8 (b, h, w, c) in 0..255, answers float32 (b, dim) in the images'
            order. One query is one image sent. A call id that the account used before
            gives the stored answers and counts nothing; None counts as a new call each
            time. An image seen before counts in images, values and cost, not in unique
            images. Raises ``BudgetExceeded`` where the call would pass a limit, and
            ``UserError`` for an account or key that is not known, for images of
            another type or shape, for an id that asked other images before, and for a
            damaged file. What raises leaves the account as it was.
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
    key: Array | None,
    call_limit: int | None = None,
    total_image_limit: int | None = None,
    total_call_limit: int | None = None,
    price: float = 0.0,
    repeats: str = "memoised",
    accounts: Mapping[str, str] | None = None,
) -> Service:
    """Opens a service on its file of answers, which is made if it is missing.

    Several processes may serve one file; one call is answered at a time. A service is
    used from the thread that opened it.

    Args:
        path: The sqlite3 file, in a folder that exists.
        embed: The victim, deterministic: uint8 (b, h, w, c) in 0..255 to (b, dim). It
            is given the images of a call that are not answered from the store.
        image_limit: Images each account may send, None for no limit.
        image_shape: (h, w, c) of the images.
        dim: Numbers per answer.
        defence: What is done to the answers; see ``Defence``.
        key: Where the defence's keys come from; None for a defence without chance.
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

    Raises:
        UserError: The file is damaged, or was made for other terms (limits, shape,
            dim, price, repeats, with keys or without); terms that cannot be kept; an
            account that the file knows with another key.
    """
    shape = tuple(int(n) for n in image_shape)
    terms = Terms(
        int(dim),
        shape,
        image_limit,
        call_limit,
        total_image_limit,
        total_call_limit,
        float(price),
        repeats,
        accounts is not None,
    )
    check_terms(terms)
    check_accounts(accounts or {})
    ledger = ledgers.open_ledger(path, terms)
    try:
        register(ledger, accounts or {})
    except BaseException:
        ledger.db.close()
        raise

    def query(
        account: str,
        images: np.ndarray,
        call: str | None = None,
        *,
        api_key: str | None = None,
    ) -> np.ndarray:
        _check_names(account, call)
        if terms.api_keys:
            admit(ledger, account, api_key)
        _check_images(images, shape)
        # The victim works under the write lock: no two processes then pay for one
        # image twice, or spend the same rest of a budget.
        with transaction(ledger.db, ledger.path, "IMMEDIATE"):
            return _ask(ledger, account, images, call, embed, defence, key)

    def counters(account: str) -> Counters:
        _check_names(account, None)
        with one_line(ledger.path):
            return count(ledger, account)

    def names() -> list[str]:
        with one_line(ledger.path):
            return list(count_all(ledger))

    return Service(query, counters, names, ledger.db.close)


def _check_names(account: str, call: str | None) -> None:
    if not isinstance(account, str) or not account:
        raise UserError(f"an account's name is a text, not {account!r}")
    if call == "":
        raise UserError("a call's id is empty: give one, or None for a new one")


def _check_images(images: np.ndarray, shape: tuple[int, ...]) -> None:
    wanted = f"uint8 images of shape (n, {', '.join(map(str, shape))}), n at least 1"
    if not isinstance(images, np.ndarray):
        raise UserError(f"expected {wanted}; got a {type(images).__name__}")
    if images.dtype != np.uint8:
        raise UserError(f"expected {wanted}; got {images.dtype}")
    if images.shape[1:] != shape or len(images) == 0:
        raise UserError(f"expected {wanted}; got shape {images.shape}")


def _ask(
    ledger: Ledger,
    account: str,
    images: np.ndarray,
    call: str | None,
    embed: Embed,
    defence: Defence,
    key: Array | None,
) -> Float32[np.ndarray, "b d"]:
    """Answers a call, which is paid for unless it was made before."""
    hashes = [ledgers.image_hash(image) for image in images]
    before = None if call is None else ledgers.find_call(ledger, account, call)
    name = uuid.uuid4().hex if call is None else call
    ids = ledgers.answer_ids(ledger, name, hashes)
    if before is None:
        own, total = spent(ledger, account)
        check_budget(ledger.terms, account, len(images), own, total)
        drawn = _call_key(key, account, own.calls)
        _answer_new(ledger, account, images, ids, embed, defence, drawn)
        ledgers.add_call(ledger, account, name, hashes)
    elif before != hashes:
        raise UserError(
            f"call {call!r} of account {account!r} asked other images before; "
            "ask with another id"
        )
    return ledgers.read_stored(ledger, account, ids)


def _answer_new(
    ledger: Ledger,
    account: str,
    images: np.ndarray,
    ids: list[bytes],
    embed: Embed,
    defence: Defence,
    key: Array | None,
) -> None:
    """Embeds, defends and stores the images whose answers are not in the store yet."""
    first: dict[bytes, int] = {}
    for i, id in enumerate(ids):
        first.setdefault(id, i)
    new = [id for id in first if ledgers.find_answer(ledger, account, id) is None]
    if not new:
        return
    sent = images[[first[id] for id in new]]
    shape = (len(new), ledger.terms.dim)
    answers = _checked(embed(sent), shape, "the victim")
    saved = ledgers.find_state(ledger, account)
    state = defence.init(ledger.terms.dim) if saved is None else _unpack(saved)
    state, answers = defence.apply(state, sent, answers, key)
    answers = _checked(answers, shape, "the defence")
    for id, answer in zip(new, answers, strict=True):
        ledgers.add_answer(ledger, account, id, answer.astype("<f4").tobytes())
    if state or saved is not None:
        ledgers.save_state(ledger, account, _pack(state))


def _checked(
    answers: np.ndarray, shape: tuple[int, int], who: str
) -> Float32[np.ndarray, "b d"]:
    with np.errstate(over="ignore"):  # what overflows is refused below
        answers = np.asarray(answers).astype(np.float32)
    if answers.shape != shape:
        raise UserError(
            f"{who} answered with shape {answers.shape} instead of {shape}; "
            "nothing was counted"
        )
    if not np.isfinite(answers).all():
        bad = int((~np.isfinite(answers).all(axis=1)).sum())
        raise UserError(
            f"{who} answered {bad} of {len(answers)} images with numbers that are not "
            "finite; nothing was counted"
        )
    return answers


def _call_key(key: Array | None, account: str, calls: int) -> Array | None:
    """The key of a call, made from what is stored: a repeated call draws the same."""
    if key is None:
        return None
    stream = jax.random.fold_in(key, np.uint32(zlib.crc32(account.encode())))
    return jax.random.fold_in(stream, np.uint32(calls))


def _pack(state: State) -> bytes:
    # Imported where needed: flax takes seconds, and most services keep no state.
    from flax import serialization

    return serialization.msgpack_serialize(state)


def _unpack(saved: bytes) -> State:
    from flax import serialization

    # Copies: what flax gives back lies in the bytes and cannot be written to.
    restored = serialization.msgpack_restore(saved)
    return {name: np.array(value) for name, value in restored.items()}
