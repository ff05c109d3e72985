"""Does a model pay, or a consensus? Against baselines and members, on the same patients."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cohgen_jax.evaluation.clustered import error_of_mean

VERDICTS = ("better", "within_1_se", "worse")
AHEAD = ("better", "within_2_se", "worse")


def against_members(by_patient: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """Each consensus of two sources or more, paired with the best single source of its subset.

    by_patient: from `evaluate`. methods: rules of consensus. A source alone has as many forecasts
    as there are rules; its best one is the member, and the best member is chosen on the very
    patients of the comparison, which favours it.

    Columns method, target, sources, num_sources, n; best_member and member_method; energy_score of
    the consensus and member_energy_score; difference (positive: the consensus is worse), its
    standard error se over patients, and verdict: better or worse by more than one se, or within.
    """
    scores = by_patient[by_patient["method"].isin(methods)]
    alone = scores[scores["num_sources"] == 1]
    singles = {
        key: table.set_index("row")["energy_score"]
        for key, table in alone.groupby(["target", "sources", "method"], sort=False)
    }
    rows = []
    joint = scores[scores["num_sources"] > 1]
    for (method, target, sources), table in joint.groupby(
        ["method", "target", "sources"], sort=False
    ):
        consensus = table.set_index("row")["energy_score"]
        whose = table["patient"].to_numpy() if "patient" in table else None
        members = {
            (source, rule): single.loc[consensus.index]
            for (of, source, rule), single in singles.items()
            if of == target and source in str(sources).split("+")
        }
        if not members:
            continue
        best = min(members, key=lambda name: members[name].mean())
        paired = consensus - members[best]
        difference, se = paired.mean(), error_of_mean(paired.to_numpy(), whose)
        rows.append(
            {
                "method": method,
                "target": target,
                "sources": sources,
                "num_sources": table["num_sources"].iloc[0],
                "n": len(consensus),
                "best_member": best[0],
                "member_method": best[1],
                "energy_score": consensus.mean(),
                "member_energy_score": members[best].mean(),
                "difference": difference,
                "se": se,
                "verdict": VERDICTS[int(difference > -se) + int(difference > se)],
            }
        )
    return pd.DataFrame(rows)


def against_baselines(by_patient: pd.DataFrame, baselines: Sequence[str]) -> pd.DataFrame:
    """Each other method paired with each baseline, patient by patient, in every condition.

    by_patient: from `evaluate`. Compared by CRPS in units of the tables where there are units, else
    by the energy score of latents; lower is better for both.

    Columns method, target, sources, num_sources, baseline, score, n; mean and baseline_mean of the
    score; difference (positive: the method is worse), its standard error se over patients, and
    verdict: better or worse by more than two se, or within.
    """
    score = "energy_score"
    if "units_crps" in by_patient and by_patient["units_crps"].notna().any():
        score = "units_crps"
    rows = []
    for (target, sources), table in by_patient.groupby(["target", "sources"], sort=False):
        scores = table.pivot(index="row", columns="method", values=score)
        patients = table.drop_duplicates("row").set_index("row").get("patient")
        there = [m for m in dict.fromkeys(table["method"]) if m not in baselines]
        for method in there:
            for baseline in (m for m in baselines if m in scores):
                both = scores[[method, baseline]].dropna()
                if len(both) < 2:
                    continue
                paired = both[method] - both[baseline]
                whose = None if patients is None else patients.loc[both.index].to_numpy()
                difference, se = paired.mean(), error_of_mean(paired.to_numpy(), whose)
                rows.append(
                    {
                        "method": method,
                        "target": target,
                        "sources": sources,
                        "num_sources": table["num_sources"].iloc[0],
                        "baseline": baseline,
                        "score": score,
                        "n": len(both),
                        "mean": both[method].mean(),
                        "baseline_mean": both[baseline].mean(),
                        "difference": difference,
                        "se": se,
                        "verdict": AHEAD[int(difference > -2 * se) + int(difference > 2 * se)],
                    }
                )
    return pd.DataFrame(rows)


def count_verdicts(comparison: pd.DataFrame) -> pd.DataFrame:
    """Of each method: comparisons, how many of each verdict, and the worst difference in se."""
    in_se = comparison["difference"] / comparison["se"]
    counts = pd.crosstab(comparison["method"], comparison["verdict"]).reindex(
        index=list(dict.fromkeys(comparison["method"])), columns=list(VERDICTS), fill_value=0
    )
    counts.insert(0, "comparisons", counts.sum(axis=1))
    counts["worst_in_se"] = in_se.groupby(comparison["method"]).max()
    return counts.rename_axis(columns=None).reset_index()
