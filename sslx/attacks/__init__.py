"""Attacks: what to ask, and what to train on the answers.

An ``Attack`` separates the two: the plan is made and paid for before any training,
and the stealer trains from stored answers without the victim.
"""

from sslx.attacks.attack import Attack, Plan
from sslx.attacks.direct import DIRECT

ATTACKS: dict[str, Attack] = {"direct": DIRECT}

__all__ = ["ATTACKS", "Attack", "Plan"]
