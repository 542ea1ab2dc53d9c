"""Accounts with keys: who may ask. Of a key only a sha256 is kept."""

import hmac
from collections.abc import Mapping

from sslx.service.database import check_name, digest, one_line, transaction
from sslx.service.ledger import Ledger, add_key, find_key
from sslx.types import UserError, refuse_if


def check_accounts(accounts: Mapping[str, str]) -> None:
    """Checks that every account has a name and a key.

    Raises:
        UserError: One has not.
    """
    for account, key in accounts.items():
        refuse_if(
            account == "",
            "an account has no name",
        )
        check_name("an account's name", account)
        refuse_if(
            not isinstance(key, str) or not key,
            f"account {account!r} has no key: give it a text",
        )


def register(ledger: Ledger, accounts: Mapping[str, str]) -> None:
    """Adds the accounts that the ledger does not know yet, name -> key; all or none.

    Raises:
        UserError: One of them is known with another key.
    """
    with transaction(ledger.db, ledger.path, "IMMEDIATE"):
        for account, key in accounts.items():
            known = find_key(ledger, account)
            if known is None:
                add_key(ledger, account, _hidden(account, key))
            elif not hmac.compare_digest(known, _hidden(account, key)):
                raise UserError(
                    f"{ledger.path} knows account {account!r} with another key: "
                    "give that one, or the account another name"
                )


def admit(ledger: Ledger, account: str, api_key: str | None) -> None:
    """Lets an account in that shows its key.

    Raises:
        UserError: The account is unknown, or the key is missing or wrong.
    """
    with one_line(ledger.path):
        known = find_key(ledger, account)
    if known is None:
        raise UserError(f"account {account!r} is not known here: nothing was counted")
    if not isinstance(api_key, str):
        raise UserError(f"account {account!r} needs its api_key: nothing was counted")
    refuse_if(
        not hmac.compare_digest(known, _hidden(account, api_key)),
        f"this is not the api_key of account {account!r}: nothing was counted",
    )


def _hidden(account: str, key: str) -> bytes:
    # With the account: equal keys of two accounts are not seen to be equal.
    # Half a character in a key is as good as any.
    return digest(account.encode(), key.encode(errors="surrogatepass"))
