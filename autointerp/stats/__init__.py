"""Arrays in, numbers out; nothing here knows of runs, units or storage.

results         what every statistic returns: a value with its interval, a test, bounds
means           means, medians, shares, and bounds for missing scores
superiority     P(one > another), and its tests
matched         the same within strata of density
bootstrap       intervals by resampling units, and raters with them
resample        the engine of bootstrap and agreement
agreement       Krippendorff's alpha, kappa, intraclass correlation, Spearman's rho
ranks           the area under the ROC curve, and rank correlation
blinding_index  Bang's and James' indices
ppi             people's means from a judge's ratings of everything
weighted        means of units that were drawn with unequal probability
power           how many units a comparison needs
calibration     coverage of ppi's intervals, by simulation

Modules `import scipy` alone: `scipy.stats` takes half a second, and loads when it is first used.
"""
