"""Arrays in, numbers out; nothing here knows of runs, units or storage.

results                what every statistic returns: a value with its interval, a test, bounds
bounded                intervals that stay on a scale
means                  means, medians, shares, and bounds for missing scores
superiority            P(one > another); wins, ties and losses; their tests
van_elteren            P(superiority) within each rater, combined
nested                 P(superiority) of units nested in runs
density                the same at like density, or why not
stacked                several judges as one, by non-negative weights of their ranks
paired                 two scores of the same units
decision               higher, lower, equivalent or not resolved; equivalence to a value
sequential             looking twice: boundaries, repeated intervals, stopping rules
rater_effects          severity and spread of raters, drift: a cumulative logit model
agreement              Krippendorff's alpha, kappa, intraclass correlation, Spearman's rho
alternative_annotator  may a judge stand in for people?
cosines                nearest vectors and one-to-one partners of two sets, in blocks
layout                 vectors in the plane, near ones near: UMAP
logistic_curve         yes and no against a number: a logistic curve
ranks                  the area under the ROC curve, and rank correlation
binned                 the same from counts in bins, with a stated error; F1 at bin edges
clustered              the same with an interval over clusters, such as documents
logistic               logistic regression with a ridge, and probes of few columns
blinding_index         Bang's and James' indices, and whether a rater can tell sources
ppi                    people's means from a judge's ratings of everything
ppi_superiority        people's P(superiority) from the same
ppi_drawn              both, where people's units were drawn with unequal probabilities
ratios                 figures of sums over documents, such as L0, by jackknife
weighted               means of units that were drawn with unequal probability
power                  how many units a comparison needs

Modules `import scipy` alone: its parts load when they are first used. `scipy.stats` takes half a
second, so quantiles that every harvest or report needs are `scipy.special`'s: `stdtrit`, `ndtri`.
`python -m bench coverage` measures what the intervals and tests here promise.
"""
