"""Are differences more than chance? Patients are the unit of claims, seeds that of repeats.

patients   bootstrap: all samples of a patient are drawn together, all methods see the same drawn
           patients (paired). Percentile intervals; p is the smallest level at which the interval
           excludes no difference (two-sided).
repeats    repeated-measures ANOVA and paired t-tests over seeds, as published: they say that
           a difference is not the luck of a forest's seed, not that it holds for other patients.

Holm 1979 controls the family-wise error without assumptions on dependence, and rejects whatever
Bonferroni does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

CLAIM_COLUMNS = (
    *("analysis", "contrast", "metric", "estimate", "ci_low", "ci_high", "p", "p_holm"),
    *("n", "unit"),
)


class Interval(NamedTuple):
    estimate: float
    ci_low: float
    ci_high: float
    p: float


def patient_weights(patients: np.ndarray, num: int, seed: int) -> np.ndarray:
    """float [1 + B, n]: how often each sample occurs in a bootstrap draw of patients; row 0 is 1.

    patients: int [n], the patient of each sample.
    """
    _, patient_of = np.unique(patients, return_inverse=True)
    count = patient_of.max() + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), num)
    return np.concatenate([np.ones((1, len(patient_of))), drawn[:, patient_of]])


def bootstrap_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """From a statistic [1 + B] under `patient_weights`: the estimate first, then its replicates.

    Replicates that are NaN (a draw without deaths, say) are left out.
    """
    estimate, replicates = float(values[0]), values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    tail = min(np.sum(replicates <= 0), np.sum(replicates >= 0))
    p = min(1.0, 2 * (1 + tail) / (1 + len(replicates)))
    return Interval(estimate, float(low), float(high), float(p))


def adjusted(p: Sequence[float] | np.ndarray, method: str = "holm") -> np.ndarray:
    """p-values of one family, adjusted by "holm" or "bonferroni"; NaN stays and does not count."""
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p, float)
    known, result = np.isfinite(p), np.full(len(p), np.nan)
    if known.any():
        result[known] = multipletests(p[known], method=method)[1]
    return result


def claims(
    analysis: str,
    metric: str,
    contrasts: Mapping[str, np.ndarray],
    n: int,
    unit: str = "patient",
) -> pd.DataFrame:
    """One row a contrast (its replicates [1 + B]), Holm-adjusted as one family: CLAIM_COLUMNS."""
    rows = [
        {"analysis": analysis, "contrast": contrast, "metric": metric}
        | bootstrap_interval(values)._asdict()
        | {"n": n, "unit": unit}
        for contrast, values in contrasts.items()
    ]
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = adjusted(table["p"].to_numpy())
    return table.reindex(columns=list(CLAIM_COLUMNS))


def repeated_measures(table: pd.DataFrame, value: str, within: str, subject: str) -> pd.DataFrame:
    """ANOVA over `within` (say, method) with `subject` (say, seed) as the repeated unit.

    One row: F, its degrees of freedom, p, Greenhouse-Geisser corrected p, partial-free effect
    size ng2 (generalised eta squared, Bakeman 2005).
    """
    import pingouin

    anova = pingouin.rm_anova(
        table,
        dv=value,
        within=within,
        subject=subject,
        correction=True,  # pyright: ignore[reportArgumentType]
        detailed=False,
    ).iloc[0]
    names = {"F": "F", "ddof1": "df1", "ddof2": "df2", "p_unc": "p", "p_GG_corr": "p_gg"}
    names |= {"p-unc": "p", "p-GG-corr": "p_gg", "ng2": "ng2"}
    return pd.DataFrame([{new: anova[old] for old, new in names.items() if old in anova.index}])


def paired_tests(
    table: pd.DataFrame, value: str, within: str, subject: str, reference: str | None = None
) -> pd.DataFrame:
    """Paired t-tests between the levels of `within`, or of each against `reference`.

    table: long, one value for each (subject, within).

    Returns:
      Columns a, b, difference (mean of a - b), ci_low, ci_high (95 %), t, df, p, p_bonferroni,
      p_holm, d_z (mean over sd of the differences) and hedges_g (d_z without small-sample bias).
      A pair whose differences are all the same has no t.
    """
    import itertools

    from scipy import stats

    wide = table.pivot(index=subject, columns=within, values=value).dropna()
    levels = list(dict.fromkeys(table[within]))
    pairs = itertools.combinations(levels, 2)
    if reference is not None:
        pairs = [(level, reference) for level in levels if level != reference]
    rows = []
    for a, b in pairs:
        change = (wide[a] - wide[b]).to_numpy(float)
        n, sd = len(change), np.std(change, ddof=1) if len(change) > 1 else 0.0
        row = {"a": a, "b": b, "difference": change.mean() if n else np.nan, "n": n}
        if sd > 1e-12:
            test = stats.ttest_rel(wide[a], wide[b])
            low, high = test.confidence_interval()
            d_z = change.mean() / sd
            bias = 1 - 3 / (4 * (n - 1) - 1)  # Hedges 1981
            row |= {"ci_low": low, "ci_high": high, "t": test.statistic, "df": n - 1}
            row |= {"p": test.pvalue, "d_z": d_z, "hedges_g": bias * d_z}
        rows.append(row)
    columns = ["a", "b", "difference", "ci_low", "ci_high", "t", "df", "p"]
    tests = pd.DataFrame(rows).reindex(columns=[*columns, "d_z", "hedges_g", "n"])
    for name in ("bonferroni", "holm"):
        tests[f"p_{name}"] = adjusted(tests["p"].to_numpy(float), name)
    return tests
