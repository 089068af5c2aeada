"""What the answers say, in numbers: what a page shows, `compare(run)` returns.

comparison    everything that a run says; `compare`
across        what several runs say of one another
groups        scores by source, and the contrasts between sources
subject       what was studied: model, site, SAE, corpus
plan          what was declared before the first rating, and when one stops
looks         the ledger of looks, and how each may be read
trust         where the controls lie, and the verdict
density       mean scores within strata of density and of peak
agreement     raters with one another, and each with itself
rater_effects severity and spread of raters, drift of people
calibration   people's means and superiority, predicted from a judge's ratings
blinding      what raters took the items for
answers       replies about descriptions, as scores of units and ratings of contexts
descriptions  what descriptions are worth, by scorer and by interval of activation
checks        how a rater did on units of known grade
labs          what labs measured of units
cover         which concepts a dictionary covers, and how frequent they are
importance    mean scores per unit of use, beside those per unit
map           a dictionary in the plane: its units, how often they fire, what was said of them
mapped        what a run holds of its maps
sweep         many SAEs of one model: figures, scores, and the contrasts between them
sweep_plan    what was declared of a sweep before its first rating
swept         what a sweep's file names: its SAEs and their runs
match         two dictionaries: which features of one are in the other, and which split
matched       what a run holds of other runs' dictionaries
concepts      known concepts: the unit that knows each, sparse probes, the share found
attributed    what a run holds of attributions
known         what a run holds of known concepts
browse        single units, for a list to look through
json_values   all of it as JSON
"""
