"""Defences by name; one file each, ``defence.py`` has their contract."""

from sslx.service.defences.defence import Defence

DEFENCES = {
    "none": Defence(
        init=lambda dim, key: {},
        apply=lambda state, request: (request.raw, state, None, {}),
    ),
}
