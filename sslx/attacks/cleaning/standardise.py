"""Answers whose numbers have all been brought to one scale."""

import numpy as np

from sslx.attacks.cleaning.cleaner import Answered, Help


def standardise(given: Answered, help: Help) -> Answered:
    """Each number less its mean, in its deviations over all answers of its account.

    Against factors and shifts of an account's own, whatever they are: it wants no
    anchors. How much each number varied before is lost. One that never varies is 0.
    """
    answers = given.answers.astype(np.float64)
    for account in np.unique(help.accounts):
        own = help.accounts == account
        rows = answers[own].reshape(-1, answers.shape[-1])
        scale = np.maximum(rows.std(axis=0), 1e-12)
        answers[own] = (answers[own] - rows.mean(axis=0)) / scale
    return given._replace(answers=answers.astype(np.float32))
