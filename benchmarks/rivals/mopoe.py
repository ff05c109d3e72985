"""MoPoE (Sutter et al. 2021) of multivae: a mixture of the products of all subsets of experts."""

from benchmarks.rivals.multimodal_vaes import fitting

fit = fitting("MoPoE")
