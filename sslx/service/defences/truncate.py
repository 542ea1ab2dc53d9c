"""The first numbers of an answer, and none of the others."""

from sslx.service.defences.defence import Defence
from sslx.service.defences.numbers import check_whole, narrower


def truncate(*, d: int) -> Defence:
    """Answers are the first d columns of what they are made of.

    Args:
        d: How many; below the width of the answers.

    Raises:
        UserError: d is no whole number above 0; from ``out_dim``, not below the width.
    """
    check_whole("truncate", "d", d)
    return Defence(
        init=lambda dim, key: {},
        apply=lambda state, request: (request.raw[:, :d], state, None, {}),
        out_dim=lambda dim: narrower("truncate", "d", d, dim),
        units=False,
    )
