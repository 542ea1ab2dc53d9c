"""Stage fidelity: how alike an encoder and the victim are, without labels."""

from sslx.context import Context, kept_rows
from sslx.evals.fidelity import fidelity
from sslx.runs.files import write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.stages import features
from sslx.stages.probe import predictions


def make(run: Run, context: Context) -> None:
    """Compares two probed encoders on test images.

    Its parents are probes: ``victim``, ``encoder``, and ``untrained`` where there is
    one, which sets the scale of what chance gives.
    """
    r, place = run.recipe, context.place(run.recipe["data"])
    with working_on(run, f"on {place.title}") as needed:
        if not needed:
            return
        kept = kept_rows(run.recipe, context)
        rows, voted = {}, {}
        for role, probe in run.parents.items():
            of = probe.parents["features"]
            rows[role] = features.load(of, "test", context)[kept]
            voted[role] = predictions(probe)["linear"]
        found = fidelity(
            rows["victim"],
            rows["encoder"],
            rows.get("untrained"),
            predictions=(voted["victim"], voted["encoder"]),
            groups=place.ids("test")[kept],
            fit_fraction=r["fit"],
            k=r["neighbours"],
            rows=r["rows"],
            seed=r["split_seed"] or 0,
        )
        write_meta(run, finished=True, fidelity={"dataset": place.title, **found})
