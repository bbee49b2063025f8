"""Decision analysis: pure functions of outcome tables, for any model's output.

Start from `Psa` (costs and effects, draws x strategies). The tables returned carry the column names of dampack where
it has them. Imports nothing of simhcc but its errors.
"""

from simhcc.economics.decision import (
    CePlane,
    ThresholdPrice,
    ce_plane,
    ceac,
    ceaf,
    efficiency_frontier,
    expected_loss,
    icer_table,
    inmb,
    inmb_curve,
    nhb,
    nmb,
    pairwise_icers,
    threshold_price,
)
from simhcc.economics.impact import (
    BudgetImpact,
    SubgroupValue,
    budget_impact,
    decompose_amounts,
    decompose_increment,
    subgroup_value,
)
from simhcc.economics.information import (
    enbs,
    evpi,
    evppi,
    evsi,
    evsi_moment_matching,
    simulate_summaries,
)
from simhcc.economics.noise import (
    Smoothed,
    noise_free,
    running_means,
    sample_size_split,
    smooth_on_inputs,
    variance_split,
    variance_split_replicates,
)
from simhcc.economics.tables import Population, Psa

__all__ = [
    "BudgetImpact",
    "CePlane",
    "Population",
    "Psa",
    "Smoothed",
    "SubgroupValue",
    "ThresholdPrice",
    "budget_impact",
    "ce_plane",
    "ceac",
    "ceaf",
    "decompose_amounts",
    "decompose_increment",
    "efficiency_frontier",
    "enbs",
    "evpi",
    "evppi",
    "evsi",
    "evsi_moment_matching",
    "expected_loss",
    "icer_table",
    "inmb",
    "inmb_curve",
    "nhb",
    "nmb",
    "noise_free",
    "pairwise_icers",
    "running_means",
    "sample_size_split",
    "simulate_summaries",
    "smooth_on_inputs",
    "subgroup_value",
    "threshold_price",
    "variance_split",
    "variance_split_replicates",
]
