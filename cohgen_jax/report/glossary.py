"""What the numbers of the tables mean, in plain words."""

GLOSSARY = {
    "units_...": (
        "Scores in units of the tables: every feature about its mean over the training patients, "
        "in their standard deviations, whole draws against what was measured (of a wide table, 400 "
        "features, evenly spaced). They judge all of a table and decide; scores without this name "
        "are of latents, of what a codec keeps."
    ),
    "units_crps": (
        "Continuous ranked probability score of every cell: how far the draws are from the "
        "measured value, less what they differ among themselves; lower is better, and only the "
        "true distribution has the lowest expected score. units_crps_se: its standard error over "
        "patients."
    ),
    "units_r2, units_corr, units_pearson_pooled": (
        "R² of the posterior mean about the training average; correlation of mean draw and "
        "measured value over patients, mean of the features; one correlation over all cells, as "
        "often published, which features of different level raise by themselves."
    ),
    "units_variance_ratio, units_structure_slope": (
        "Do generated patients vary as measured ones do, and are features as correlated with each "
        "other? 1 is as measured, below 1 is too alike (of an average patient, 0). "
        "units_structure: correlation of the two sets of correlations."
    ),
    "units_coverage80, honest": (
        "Share of measured values between the quantiles 0.1 and 0.9 of their R draws. Honest draws "
        "hold 0.8 (R - 1) / (R + 1): 0.65 of 10 draws. Values that many patients share lie on the "
        "ends of intervals, which counts as inside."
    ),
    "covariates": (
        "What every model and baseline knows of a patient beside the assays (cancer type, sex, "
        "age, where a cohort has them). Generated from no source is generated from these."
    ),
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
        "the steps: 0 when the sources tell the same story. Not defined where one model speaks "
        "alone (one source, or the multi-condition model) and for methods without denoisers."
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
    "binary_auc, binary_average_precision, binary_brier, binary_calibration_error": (
        "Of the probabilities of 0/1 features: do they rank patients (area under the ROC and the "
        "precision-recall curve, mean of the features that 5 % of the training patients have), how "
        "far are they from what happened (mean square), and how far is the observed frequency from "
        "the predicted, in bins of the predicted."
    ),
    "binary_frequency_error, counts_crps_log, counts_zero_share_error": (
        "Mean difference of predicted and observed frequency of a feature; CRPS of the logarithm "
        "of counts; mean difference of the share of zeros of a feature in draws and in the truth."
    ),
    "climatology, ridge, kernel_ridge, nearest, logistic, gaussian, multimodal_vae, engression": (
        "Baselines fitted on the same split: a random training patient whatever the sources, "
        "linear regression, regression with a Gaussian kernel, values of similar patients, a "
        "logistic regression of each feature (of tables of 0/1 features), a "
        "Gaussian of all modalities conditioned on the sources, a multimodal VAE (MVTCAE of the "
        "library multivae; it sees no covariates) and an energy-score network (of the library "
        "engression). All but the VAE draw whole vectors of features. A model below them has "
        "learnt less than they."
    ),
    "release, release_units, query, query_units": (
        "Attacks on membership by distance: to the closest released record, or to the closest draw "
        "from the patient's own sources; of latents, or in units of tables as they are released, "
        "standardised feature by feature."
    ),
}
