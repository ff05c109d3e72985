"""Judging generated data: fidelity, calibration, manifold, distances, baselines, reports."""
