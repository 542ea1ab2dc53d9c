import jax
import numpy as np
import pytest

from sslx.train import mesh
from sslx.types import UserError


def test_a_batch_divides_over_the_processes(monkeypatch):
    # Catches a batch that some processes have no part of.
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    with pytest.raises(UserError, match="16 does not divide over 3.*; 15 or 18 would"):
        mesh.data_mesh(16)
    with pytest.raises(UserError, match="2 does not divide over 3 processes; 3 would"):
        mesh.data_mesh(2)
    parts = np.array(jax.devices()[:6]).reshape(2, 3).T.tolist()  # 2 for each process
    monkeypatch.setattr(
        jax, "local_devices", lambda process_index: parts[process_index]
    )
    assert list(mesh.data_mesh(12).devices) == sum(parts, [])
    assert list(mesh.data_mesh(9).devices) == [part[0] for part in parts]  # 3 rows each
