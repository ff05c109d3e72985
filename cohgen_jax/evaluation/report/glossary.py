"""What the numbers of the tables mean, in plain words."""

GLOSSARY = {
    "r2_inf": (
        "R² of the posterior mean: the share of variation between patients that the average of "
        "very many draws explains. 1 is perfect; 0 is no better than one constant for everyone."
    ),
    "r2, mse, cosine_distance": (
        "The same kinds of error for a single draw. A draw carries the uncertainty that the "
        "sources leave, so honest draws score lower than their mean, and below zero where the "
        "sources say little. Columns ending in _sd: standard deviation over repeated draws. "
        "Columns ending in _mean: of the average of the draws made."
    ),
    "energy_score": (
        "Scores the draws as a forecast, accuracy and spread together; lower is better, and only "
        "the true distribution has the lowest expected score. Fair in the number of draws. "
        "energy_score_se: its standard error over patients."
    ),
    "spread_error": (
        "Standard deviation of the draws over the error of their mean. 1 is calibrated; below 1 "
        "the draws are too sure of themselves, above 1 too unsure."
    ),
    "crps, variogram_score": (
        "Proper scores like the energy score, lower is better: of each feature alone, and of how "
        "features differ from each other (which sees lost dependence between them)."
    ),
    "spread, error": (
        "Root mean square standard deviation of the draws (sharpness), and root mean square error "
        "of their mean with the noise of finitely many draws removed."
    ),
    "calibration_error": (
        "Mean difference between the coverage that central intervals promise and keep, over levels."
    ),
    "coverage80": ("How often the truth lies inside the middle 80 % of the draws; should be 0.80."),
    "disagreement": (
        "1 - mean cosine between the predictions of the single-condition denoisers, averaged over "
        "the steps: 0 when the sources tell the same story, 1 where one model speaks alone (one "
        "source, or the multi-condition model). Not defined for methods without denoisers."
    ),
    "precision, recall, f1, density, manifold_coverage": (
        "Are generated samples where real ones are (precision, density), and everywhere they are "
        "(recall, coverage)? 1 is best; density may exceed 1. One draw a patient."
    ),
    "energy_global, energy_local, energy_balanced, pointwise_global, pointwise_local, "
    "pointwise_balanced": (
        "Distances between the generated set and the real set, as a whole (global), in the "
        "neighbourhood of each patient (local), and their product (balanced); 0 is identical."
    ),
    "ridge, kernel_ridge, nearest, gaussian, multimodal_vae": (
        "Baselines fitted on the same split: linear regression, regression with a Gaussian "
        "kernel, values of similar patients, a Gaussian of all modalities conditioned on the "
        "sources, and a multimodal VAE (MVTCAE of the library multivae). A model below them has "
        "learnt less than they."
    ),
}
