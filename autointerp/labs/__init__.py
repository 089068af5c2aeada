"""Measurements of a unit that need its model again.

hard_negatives  texts that look as if a unit fired in them, where it is silent
logit_effects   tokens that a unit makes likelier or less likely by its direct path to the logits
"""
