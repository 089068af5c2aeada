"""The verbs: each does what is missing, emits events and returns a typed result.

asked       what can be refused before a model or a table is loaded
job         what is asked for, and what follows from it: settings, question, rater, units
events      what happens meanwhile
harvest     units and their contexts into a run, or of a model in memory
rate        units or descriptions, by any rater; batches; the forecast of both
rate_result what a rating did, of units or of descriptions
describe    explain units, rate descriptions, score descriptions
until       units in batches, with a look after each, until a stopping rule says enough
plan        what is declared before the first rating
ask         what all of these do with a rater: at once, or by a provider's batch API
guess       the blinding check of a model
sit         a person rates a run; sit_pack, a pack
plan_humans what people rate next, and how unsure a judge is
check       a rater on planted units of known quality
lab         a lab measures units of a run, with the model that it was harvested from
attribute   which units of a source a logit difference comes from
concepts    which units of the sources know labelled concepts
cover       which concepts the units of a source are about
counts      on how many tokens every feature of a run's dictionary fires
sweep       many SAEs of one model, as sweep_file says, harvested and rated together
evaluator   SAE checkpoints of a training loop, against the neurons of their site
match       the dictionaries of two runs, matched vector by vector
map         a run's dictionary in the plane
looks       a run opened so that a look can be written into it
report      the page, or the findings as JSON
opened      a run as a notebook has it
summary     what a run holds, in counts
init        the settings file of a subject
doctor      libraries, disk, keys, servers
"""
