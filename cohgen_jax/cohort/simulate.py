"""A simulated cohort: five modalities of several hundred patients, with planted structure.

One world, drawn once; `seed` draws its patients, so two seeds are two cohorts of one population.

Factors   u [N, 10] of a sample = mean of its tumour type (5 types) + 0.8 Student-t(6) variation
Views     each modality sees 16 modules of its own: identity, tanh, |.|, a saturating square or a
          gated product of mixed factors (85 % of the variance) plus Student-t(5) activity that no
          other modality sees (15 %); a feature follows one module (cna, rnaseq, rppa) or all (wsi),
          plus Student-t(5) noise. 16 latents hold a modality's structure
Mutations 0/1: DRIVERS genes whose log odds follow one factor each, and as many passengers that
          nothing predicts; half of them are on a panel that three of the tumour types were
          not tested by
Planted   progression = u_0 + 0.5 u_1 u_2 + 0.4 u_3 decides the stage, in quantiles;
          log hazard  = 0.7 u_0 + 0.5 u_4 + 0.35 (stage - 2), exponential survival, censored
Holes     cna 2 %, rnaseq 2 %, rppa 22 %, wsi 6 % of samples lack the assay, about 70 % are
          complete; 1 % of protein cells, a fifth of mutations and 8 % of stages are unknown
Patients  one in 25 has a second sample, a metastasis correlated with the primary
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import Cohort, Origin
from cohgen_jax.cohort.split import patient_split

TYPES = ("breast", "lung", "kidney", "colon", "brain")
NUM_FACTORS = 10
NUM_MODULES = 16
PRIVATE = 0.15
"""Share of a module's variance that no other modality sees."""
DRIVERS = 12
"""Driver genes; as many passengers."""
NOT_TESTED = ("kidney", "colon", "brain")
"""Tumour types of which every other gene is unknown."""
_WORLD = 20250822


class _View(NamedTuple):
    """How one modality sees a tumour."""

    num_features: int
    prefix: str
    dense: bool  # every feature follows all modules, as a learned embedding does
    absent: float  # share of samples without the assay
    noise: float  # sd of a feature's own noise, its modules having sd about 1
    unit: str


VIEWS = {
    "cna": _View(240, "GENE", False, 0.02, 0.6, "log2 copy ratio, clipped to [-2, 2]"),
    "rnaseq": _View(320, "GENE", False, 0.02, 0.6, "log2(CPM + 1)"),
    "rppa": _View(120, "PROT", False, 0.22, 0.6, "protein level, median-centred"),
    "wsi": _View(96, "wsi", True, 0.06, 0.8, "slide embedding"),
}


class DemoTruth(NamedTuple):
    """What the simulation planted, for each sample of the cohort of the same arguments."""

    sample_ids: np.ndarray  # [N]
    factors: np.ndarray  # u [N, 10]
    progression: np.ndarray  # [N], decides the stage
    stage: np.ndarray  # int [N], 1 to 4, known for every sample
    log_hazard: np.ndarray  # [N], of death per day relative to the baseline
    drivers: dict[str, int]  # gene of mut -> the factor that drives it


def demo_truth(seed: int = 0, num_patients: int = 600) -> DemoTruth:
    """The factors and planted effects behind `demo_cohort(seed, num_patients)`."""
    return _simulate(seed, num_patients)[0]


def demo_cohort(seed: int = 0, num_patients: int = 600) -> Cohort:
    """The simulated cohort of one seed, split by patient as a real one is."""
    truth, samples = _simulate(seed, num_patients)
    rng = np.random.default_rng([seed, 2])
    ids = samples.index
    tables = {}
    for index, (modality, view) in enumerate(VIEWS.items()):
        values = _measure(modality, index, view, truth.factors, rng)
        has_assay = rng.random(len(ids)) >= view.absent
        if modality == "rppa":
            values[rng.random(values.shape) < 0.01] = np.nan
        names = [f"{view.prefix}{i:03d}" for i in range(view.num_features)]
        tables[modality] = pd.DataFrame(values[has_assay], index=ids[has_assay], columns=names)
    tables["mut"] = _mutations(truth, samples, np.random.default_rng([seed, 3]))
    complete = np.logical_and.reduce([ids.isin(t.index) for t in tables.values()])
    split = patient_split(
        samples["patient_id"].to_numpy(),
        samples["cancer_type"].to_numpy(),
        complete,
        val_fraction=0.10,
        test_fraction=0.15,
        seed=seed,
    )
    samples.insert(1, "split", split)
    return Cohort(
        name="demo",
        modalities=tuple(tables),
        tables=tables,
        samples=samples,
        units={m: view.unit for m, view in VIEWS.items()} | {"mut": "0/1, mutated"},
        kinds={"mut": "binary"},
        notes=(f"Simulated: {num_patients} patients, seed {seed}, split by patient.",),
        origins=dict.fromkeys(tables, Origin(file="simulated")),
    )


def _simulate(seed: int, num_patients: int) -> tuple[DemoTruth, pd.DataFrame]:
    """Factors and facts of every sample; the assays are measured on top."""
    world = np.random.default_rng([_WORLD, 0])
    type_means = world.normal(0.0, 0.7, (len(TYPES), NUM_FACTORS))
    rng = np.random.default_rng([seed, 1])
    types = rng.choice(len(TYPES), num_patients, p=(0.3, 0.25, 0.2, 0.15, 0.1))
    factors = type_means[types] + 0.8 * rng.standard_t(6, (num_patients, NUM_FACTORS))
    twice = np.flatnonzero(rng.random(num_patients) < 0.04)
    drift = 0.5 * rng.standard_normal((len(twice), NUM_FACTORS))
    patient = np.concatenate([np.arange(num_patients), twice])
    factors = np.concatenate([factors, factors[twice] + drift])

    progression = factors[:, 0] + 0.5 * factors[:, 1] * factors[:, 2] + 0.4 * factors[:, 3]
    # Stage and survival are facts about the patient: those of the primary tumour.
    primary = progression[:num_patients] + 0.3 * rng.standard_normal(num_patients)
    stage = 1 + np.searchsorted(np.quantile(primary, (0.3, 0.6, 0.85)), primary)
    log_hazard = (
        0.7 * factors[:num_patients, 0] + 0.5 * factors[:num_patients, 4] + 0.35 * (stage - 2)
    )
    death = rng.exponential(1500.0 * np.exp(-log_hazard))
    censoring = rng.uniform(200.0, 4000.0, num_patients)
    known = np.array(["I", "II", "III", "IV"], dtype=object)[stage - 1]
    known[rng.random(num_patients) < 0.08] = None
    age = rng.normal(61.0, 12.0, num_patients).clip(20, 90).round()

    patient_ids = np.array([f"SIM{seed}-{i:04d}" for i in range(num_patients)])
    suffix = np.where(np.arange(len(patient)) < num_patients, "-01", "-06")
    ids = np.char.add(patient_ids[patient], suffix)
    samples = pd.DataFrame(
        {
            "patient_id": patient_ids[patient],
            "cancer_type": np.array(TYPES)[types[patient]],
            "stage": known[patient],
            "os_event": (death <= censoring)[patient].astype(np.float32),
            "os_days": np.ceil(np.minimum(death, censoring))[patient].astype(np.float32),
            "age": age[patient].astype(np.float32),
        },
        index=pd.Index(ids, name="sample_id"),
    )
    order = np.argsort(ids)
    truth = DemoTruth(
        ids[order],
        factors[order],
        progression[order],
        stage[patient][order],
        log_hazard[patient][order],
        {f"MUT{2 * k:02d}": k % NUM_FACTORS for k in range(DRIVERS)},
    )
    return truth, samples.iloc[order]


def _mutations(truth: DemoTruth, samples: pd.DataFrame, rng) -> pd.DataFrame:
    """Genes MUT00, MUT02, ... are drivers, MUT01, MUT03, ... passengers; NaN where not tested."""
    world = np.random.default_rng([_WORLD, 100])
    frequency, effect = world.uniform(-2.2, -0.8, DRIVERS), world.uniform(1.6, 2.6, DRIVERS)
    effect *= world.choice([-1.0, 1.0], DRIVERS)
    log_odds = np.zeros((len(samples), 2 * DRIVERS))
    drives = truth.factors[:, list(truth.drivers.values())]
    log_odds[:, ::2] = frequency + effect * (drives - drives.mean(axis=0))
    log_odds[:, 1::2] = world.uniform(-2.5, -1.0, DRIVERS)
    values = (rng.random(log_odds.shape) < 1 / (1 + np.exp(-log_odds))).astype(np.float32)
    untested = samples["cancer_type"].isin(NOT_TESTED).to_numpy()
    values[np.ix_(untested, np.arange(2 * DRIVERS) % 4 >= 2)] = np.nan
    return pd.DataFrame(values, samples.index, [f"MUT{g:02d}" for g in range(2 * DRIVERS)])


def _measure(modality: str, index: int, view: _View, factors: np.ndarray, rng) -> np.ndarray:
    """float32 [N, F]: the modality's numbers, in its units."""
    world = np.random.default_rng([_WORLD, 1, index])
    shared = _shared_modules(factors, world)
    private = rng.standard_t(5, shared.shape) / np.sqrt(5 / 3)
    modules = np.sqrt(1 - PRIVATE) * shared + np.sqrt(PRIVATE) * private
    weights = world.uniform(0.6, 1.4, (NUM_MODULES, view.num_features))
    weights *= world.choice([-1.0, 1.0], weights.shape, p=(0.3, 0.7))
    if view.dense:
        weights *= world.normal(0.0, 1.0, weights.shape) / np.sqrt(NUM_MODULES)
    else:
        follows = np.sort(np.arange(view.num_features) % NUM_MODULES)
        weights *= follows[None, :] == np.arange(NUM_MODULES)[:, None]
    noise = rng.standard_t(5, (len(factors), view.num_features)) / np.sqrt(5 / 3)
    values = modules @ weights + view.noise * noise
    if modality == "cna":
        values = np.clip(0.5 * values, -2.0, 2.0)
    elif modality == "rnaseq":
        # Counts of an unexpressed gene stop at 0.
        values = np.maximum(world.uniform(2.0, 9.0, view.num_features) + 1.2 * values, 0.0)
    elif modality == "rppa":
        values = values - np.median(values, axis=1, keepdims=True)
    return values.astype(np.float32)


def _shared_modules(factors: np.ndarray, world: np.random.Generator) -> np.ndarray:
    """[N, 16] nonlinear views of mixed factors, each of about unit variance."""
    mix = world.normal(0.0, 0.15, (NUM_FACTORS, NUM_MODULES))
    module = np.arange(NUM_MODULES)
    mix[module % NUM_FACTORS, module] += world.choice([-1.0, 1.0], NUM_MODULES)
    mixed = factors @ mix
    partner = np.roll(mixed, 1, axis=1)
    bends = (
        lambda a, b: a,
        lambda a, b: 1.5 * np.tanh(2 * a),
        lambda a, b: 1.6 * np.abs(a),
        lambda a, b: a * (1.0 + np.tanh(b)),
        lambda a, b: 0.9 * a**2 / (1.0 + 0.2 * a**2),
    )
    chosen = world.permutation(module % len(bends))
    columns = [bends[k](mixed[:, j], partner[:, j]) for j, k in enumerate(chosen)]
    return np.stack(columns, axis=1)
