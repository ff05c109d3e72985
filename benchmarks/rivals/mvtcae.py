"""MVTCAE (Hwang et al. 2021) of multivae: a product of experts that is told total correlation."""

from benchmarks.rivals.multimodal_vaes import fitting

fit = fitting("MVTCAE")
