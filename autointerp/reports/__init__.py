"""Findings on a page: words, pictures and tables; nothing is computed here.

write           panels put together; their files, and a summary in Markdown
page            the HTML page
answer          its first screen, in words
answer_picture  the figure of it
against         what speaks against the answer
cover           the page of concepts and the units that are about them
map             the page of a dictionary in the plane
match           the page of two dictionaries
sweep           the page of many
words           how numbers, names and findings are written
look_words      how a plan and looks are written
style           how pictures look
colours         of sources, in pictures and on the page
panels/         a file here is a panel
assets/         the page's template, style sheet and scripts
"""
