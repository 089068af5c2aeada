"""Which units are drawn, and where they fire: the corpus in one pass.

sources     a file here is a source of units, studied or a control
draws       seeded orders, salts and splits: functions of seed and name or place alone
sample      the units that are asked for, harvested where the run lacks them
labels      labels of tokens, from a table, an expression or a function
concepts    which units know a concept: all units against labels, in two readings
contents    hashes of the texts round tokens: equal texts have equal ones
stream      the corpus in batches, and the forward pass to the site
passes      one pass: every wanted unit's columns, batch by batch
counts      on how many tokens each unit of a source fires, all of them
columns     what is kept of some columns, and the contexts it makes
reservoirs  strongest entries and uniform draws of a stream, by key
shards      the same pass by several processes, each of which may be killed
shares, shard_files    which share is this process's; shares read apart, and their files joined
together    many SAEs and sites of one model in one reading, a run each
dictionary_sums, dictionary_figures    what an SAE is like: L0, dead features, loss recovered
held        what a run holds of the units that are wanted, and what it lacks
others      whether units are silent in contexts of others
in_memory   a harvest of objects in memory: `autointerp.harvest`
subject_record    whether a run's subject is what it was, by its files
reopen      a run's subject and columns, opened again for the labs
prompts     which units fire on a token of a prompt; how often names occur
levers      units that can be set in the model: what they read there and what they write
"""
