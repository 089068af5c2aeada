"""What else a unit can be put through with its model at hand; the subject is loaded again.

hard_negatives  texts that look as if a unit fired in them, where it is silent
logit_effects   tokens that a unit makes likelier or less likely by its direct path to the logits
"""
