import pytest

from tests.service.box import embedded, opened


@pytest.fixture
def box(tmp_path):
    """A service, its path, and the batches that the victim was given."""
    given = []

    def embed(images):
        given.append(images.copy())
        return embedded(images)

    services = []

    def make(**kw):
        services.append(opened(tmp_path / "a.sqlite", embed, **kw))
        return services[-1]

    yield make, tmp_path / "a.sqlite", given
    for service in services:
        service.close()
