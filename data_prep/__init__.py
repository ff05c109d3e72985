"""From public files to a cohort directory: downloads, omics, clinical tables, slides.

`python -m data_prep.tcga` is the command line; every module here is one stage of it.
"""
