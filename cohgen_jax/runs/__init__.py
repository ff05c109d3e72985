"""A run: a cohort, its codecs and its models; trained, opened, calibrated, used on new patients."""
