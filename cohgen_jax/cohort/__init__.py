"""Cohorts: aligned tables with holes, patient-level splits, labels, a simulated example."""

from cohgen_jax.cohort.cohort import SET_ASIDE, SPLITS, Cohort, Origin
from cohgen_jax.cohort.kinds import KINDS, Kind
from cohgen_jax.cohort.labels import stage_number
from cohgen_jax.cohort.load import cohort_from, load_cohort, save_cohort, usable_features
from cohgen_jax.cohort.read import SOURCES, RawTables, read_tables
from cohgen_jax.cohort.simulate import DemoTruth, demo_cohort, demo_truth
from cohgen_jax.cohort.split import patient_split, set_aside
from cohgen_jax.cohort.tables import read_table
from cohgen_jax.cohort.understood import Understood, understood

__all__ = [
    "KINDS",
    "SET_ASIDE",
    "SOURCES",
    "SPLITS",
    "Cohort",
    "DemoTruth",
    "Kind",
    "Origin",
    "RawTables",
    "Understood",
    "cohort_from",
    "demo_cohort",
    "demo_truth",
    "load_cohort",
    "patient_split",
    "read_table",
    "read_tables",
    "save_cohort",
    "set_aside",
    "stage_number",
    "understood",
    "usable_features",
]
