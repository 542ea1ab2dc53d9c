"""No defence: the victim's answers as they are."""

from sslx.service.defences.defence import Defence


def none() -> Defence:
    """Answers are given away as the victim makes them."""
    return Defence(
        init=lambda dim, key: {},
        apply=lambda state, request: (request.raw, state, None, {}),
    )
