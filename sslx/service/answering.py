"""From images that are new to an account to stored answers: victim, then defence."""

import io
import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from sslx.service import ledger as ledgers
from sslx.service.database import digest
from sslx.service.defences.defence import (
    Calibration,
    Defence,
    Gradient,
    Request,
    State,
    check_defence,
)
from sslx.service.ledger import Ledger
from sslx.service.secret import check_secret, key_of, seal
from sslx.types import UserError, refuse_if

MARK = "="  # before the names of a saved state's arrays; older ones have none
Embed = Callable[[np.ndarray], np.ndarray]


class Provider(NamedTuple):
    """Who answers: the victim, its width, the defence and what that wants.

    What the defence does not want is None, whatever there is.
    """

    embed: Embed
    dim: int
    defence: Defence
    secret: bytes | None
    calibration: Calibration | None
    gradient: Gradient | None


def make_provider(
    embed: Embed,
    dim: int,
    defence: Defence,
    secret: bytes | None,
    calibration: Calibration | None,
    gradient: Gradient | None,
) -> Provider:
    """Brings a victim and its defence together.

    Raises:
        UserError: The defence wants what is not given, the secret is short, or the
            calibration is of another width.
    """
    given = {"secret": secret, "calibration": calibration, "gradient": gradient}
    check_defence(defence, [name for name, it in given.items() if it is not None])
    if secret is not None:
        check_secret(secret)
    if calibration is not None and calibration.answers.shape[1] != dim:
        raise UserError(
            f"the calibration is of answers of {calibration.answers.shape[1]} numbers, "
            f"the victim's have {dim}"
        )
    return Provider(
        embed,
        dim,
        defence,
        secret if "secret" in defence.wants else None,
        calibration if "calibration" in defence.wants else None,
        gradient if "gradient" in defence.wants else None,
    )


def seals(provider: Provider) -> dict[str, str | None]:
    """Digests of what a file's answers depend on and no file shall hold."""
    out: dict[str, str | None] = {"secret": None, "calibration": None}
    if provider.secret is not None:
        out["secret"] = seal(provider.secret)
    if provider.calibration is not None:
        fields = [np.asarray(field, "<f4") for field in provider.calibration]
        forms = [repr(field.shape).encode() for field in fields]
        out["calibration"] = digest(*forms, *(f.tobytes() for f in fields)).hex()
    return out


def answer_new(
    ledger: Ledger,
    provider: Provider,
    account: str,
    images: np.ndarray,
    hashes: list[bytes],
    ids: list[bytes],
    pay: Callable[[float], None],
) -> None:
    """Embeds, defends and stores the images whose answers are not in the store yet.

    ``pay`` is called with the bits that they cost, before anything is computed.
    """
    first: dict[bytes, int] = {}
    for i, id in enumerate(ids):
        first.setdefault(id, i)
    new = [id for id in first if ledgers.find_answer(ledger, account, id) is None]
    if not new:
        return
    places = [first[id] for id in new]
    sent, sent_hashes = images[places], [hashes[i] for i in places]
    saved = ledgers.find_state(ledger, account)
    defence, secret = provider.defence, provider.secret
    key = None if secret is None else _numbers(key_of(secret, b"a", account.encode()))
    state = defence.init(provider.dim, key) if saved is None else _unpack(saved)
    form = _form(state)
    if saved is not None:
        own = _form(defence.init(provider.dim, key))
        refuse_if(
            form != own,
            f"the state that {ledger.path} keeps of account {account!r} is {form}, of "
            f"another defence than this, whose is {own}; nothing was counted",
        )
    bits = defence.demand(state, len(new))
    if bits:
        pay(bits)
    raw = _victim(provider, state, sent)
    keys = secret and [key_of(secret, b"i", account.encode(), id) for id in new]
    request = Request(
        sent,
        sent_hashes,
        raw,
        _numbers(b"".join(keys)).reshape(-1, 8) if keys else None,
        provider.calibration,
        partial(ledgers.find_rows, ledger, account),
    )
    answers, state, rows, notes = defence.apply(state, request)
    answers = _checked(answers, (len(new), ledger.terms.dim), "the defence")
    # What is computed from an array without axes is none.
    state = {name: np.asarray(value) for name, value in state.items()}
    refuse_if(
        _form(state) != form,
        f"the defence's state was {form} and is {_form(state)}; what grows belongs "
        "in its rows; nothing was counted",
    )
    if bits:
        notes = notes | {"hashes": np.full(len(new), 2.0**bits / len(new))}
    noted = _noted(notes, len(new))
    for id, answer, note in zip(new, answers, noted, strict=True):
        ledgers.add_answer(ledger, account, id, answer.astype("<f4").tobytes(), note)
    if rows is not None:
        ledgers.add_rows(ledger, account, _checked_rows(rows))
    if state:
        ledgers.save_state(ledger, account, _pack(state))


def _victim(
    provider: Provider, state: State, sent: np.ndarray
) -> Float32[np.ndarray, "b d"]:
    """What the victim answers to what the defence shows it."""
    gradient = [] if provider.gradient is None else [provider.gradient]
    shown = provider.defence.before(state, sent, *gradient)
    refuse_if(
        (shown.shape, shown.dtype) != (sent.shape, sent.dtype),
        f"the defence shows the victim {shown.dtype} images of shape "
        f"{shown.shape} for {sent.dtype} ones of {sent.shape}; nothing was counted",
    )
    return _checked(provider.embed(shown), (len(sent), provider.dim), "the victim")


def _checked(
    answers: np.ndarray, shape: tuple[int, int], who: str
) -> Float32[np.ndarray, "b d"]:
    with np.errstate(over="ignore"):  # what overflows is refused below
        answers = np.asarray(answers).astype(np.float32)
    refuse_if(
        answers.shape != shape,
        f"{who} answered with shape {answers.shape} instead of {shape}; "
        "nothing was counted",
    )
    if not np.isfinite(answers).all():
        bad = int((~np.isfinite(answers).all(axis=1)).sum())
        raise UserError(
            f"{who} answered {bad} of {len(answers)} images with numbers that are not "
            "finite; nothing was counted"
        )
    return answers


def _checked_rows(rows: np.ndarray) -> np.ndarray:
    refuse_if(
        rows.ndim != 2 or not rows.shape[1] or rows.dtype != np.int64,
        f"the defence's rows are {rows.dtype} of shape {rows.shape}, not int64 "
        "(r, k) with a bucket first; nothing was counted",
    )
    return rows


def _noted(notes: dict[str, np.ndarray], n: int) -> list[bytes]:
    """The notes of each image as JSON; nothing where there are none."""
    for name, values in notes.items():
        refuse_if(
            np.shape(values) != (n,) or not np.isfinite(values).all(),
            f"the defence's note {name!r} is not a finite number for each of {n} "
            "images; nothing was counted",
        )
    if not notes:
        return [b""] * n
    return [
        json.dumps({name: float(values[i]) for name, values in notes.items()}).encode()
        for i in range(n)
    ]


def _numbers(key: bytes) -> np.ndarray:
    return np.frombuffer(key, "<u4").astype(np.uint32)


def _form(state: State) -> dict[str, str]:
    return {k: f"{v.dtype} {v.shape}" for k, v in sorted(state.items())}


def _pack(state: State) -> bytes:
    out = io.BytesIO()
    # No array has the name of one of savez's own arguments then.
    named = {f"{MARK}{name}": value for name, value in state.items()}
    np.savez(out, allow_pickle=False, **named)
    return out.getvalue()


def _unpack(saved: bytes) -> State:
    with np.load(io.BytesIO(saved), allow_pickle=False) as arrays:
        return {name.removeprefix(MARK): array for name, array in arrays.items()}
