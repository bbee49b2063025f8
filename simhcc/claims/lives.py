"""Times of events in each simulated life, through the runner: what studies inside the simulation are made of.

A life is one patient in one draw of the numbers under one strategy. The same patient meets the same luck under every strategy,
so two times of one patient differ only where treatment did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhcc.analysis import packed, unpacked
from simhcc.graph import Channel, Endpoint, RateReward, Strategy
from simhcc.model import Values, draws_of
from simhcc.pathway.whole import DEATHS, pathway
from simhcc.runner import Job, ProgressCallback, run, split
from simhcc.simulation import Evaluation, endpoint_times

Floats = NDArray[np.float64]

DEATH = "death"
DRAWS_IN_SHARD = 4


def first_times(
    strategy: Strategy,
    events: Sequence[str],
    values: Values,
    cohort: Mapping[str, Floats],
    *,
    patients: int,
    horizon: float,
    seed: int,
    name: str = "lives",
    folder: Path | None = None,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Floats]:
    """Month of the first of each event, (draws, patients), infinite where it does not come by the horizon (months).

    An event is a mark of the pathway, or "death" for any death. `cohort` holds the patients of all draws one after another.
    """
    evaluation = Evaluation(
        pathway=pathway(),
        strategies=(strategy,),
        channels=(Channel(id="months"),),
        rewards=(RateReward(channel="months", rate=1.0),),
        endpoints=tuple(Endpoint(id=event, marks=DEATHS if event == DEATH else (event,)) for event in events),
        horizon=horizon,
        grid_step=None,
        seed=seed,
    )
    draws = draws_of(values)
    job = Job(
        name,
        "simhcc.claims.lives:shard",
        {
            "seed": seed,
            "patients": patients,
            "evaluation": packed(evaluation),
            "values": {key: np.asarray(value, dtype=np.float64) for key, value in values.items()},
            "cohort": {key: np.asarray(column, dtype=np.float64) for key, column in cohort.items()},
        },
        [{"draws": part} for part in split(draws, -(-draws // DRAWS_IN_SHARD))],
    )
    found = np.empty((draws, len(events), patients))
    with run(job, folder, resume=folder is not None and folder.exists(), threads=threads, progress=progress) as shards:
        for shard_ in shards:
            lo, hi = shard_.address["draws"]
            found[lo:hi] = shard_.arrays["times"]
    return {event: found[:, position] for position, event in enumerate(events)}


def shard(inputs: Mapping[str, Any], address: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Times of the events in a range of draws: (draws, events, patients)."""
    lo, hi = address["draws"]
    patients: int = inputs["patients"]
    evaluation = unpacked(inputs["evaluation"])
    times = endpoint_times(
        evaluation,
        {key: value[lo:hi] for key, value in inputs["values"].items()},
        {key: column[lo * patients : hi * patients] for key, column in inputs["cohort"].items()},
        patients=patients,
        luck=np.arange(lo, hi),
        first_patient=lo * patients,
        fresh_patients=True,
        threads=1,
    )
    return {"times": times}
