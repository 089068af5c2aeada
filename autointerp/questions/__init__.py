"""Questions: what a rater is shown and asked, and how its reply is parsed.

question      what every question has: prompts, a form of reply, a reader of replies
replies       the one JSON object in a model's text
rubric        questions answered by one score of a scale
rubric_files  rubrics as Markdown files, read and checked
forms         tasks: questions answered in words, yes and no, activations, or a choice
contexts      which of a unit's contexts are shown
cuts          which part of a context is shown, and which token is marked
items         a unit's contexts, blind, for a rubric about units
trials        pieces of contexts, blind, that try a description or ask for one
explain       the questions that ask for descriptions, and the descriptions that came back
specificity   which contexts a rubric about a description is rated on
score         which pieces a scorer asks about, with its control
scorers/      a file here is a scorer
labelled_text tokens of a text, with the words, numbers and lines they make
kinds/        a file here is a kind of concept that planted units follow
planter       contexts of units whose grade is known
kit_text/     the text in which the kit's units are planted
kit_store     planted units in a file, so that they are planted once
kit           planted units as items, some with orders in the text, to check raters with
guess         the question of the blinding check
"""
