"""Formulas that judge draws and sets of samples; they know arrays only."""
