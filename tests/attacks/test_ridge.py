"""The fit to all other rows."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sslx.attacks.cleaning.ridge import left_out


@pytest.mark.parametrize("ridge", [1e-3, 0.3])
def test_each_row_by_the_others(ridge):
    # Catches a row that predicts itself, an intercept that is shrunk.
    random = np.random.default_rng(0)
    x, noise = random.normal(2, 3, (40, 5)), random.normal(size=(40, 2))
    y = x @ random.normal(size=(5, 2)) + 7 + noise
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    want = []
    for i in range(40):
        others = np.arange(40) != i
        model = Ridge(ridge * 40, solver="cholesky").fit(z[others], y[others])
        want.append(model.predict(z[i : i + 1])[0])
    np.testing.assert_allclose(left_out(x, y, ridge), want, rtol=1e-8)
