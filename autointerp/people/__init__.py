"""Human raters: sessions go out, answers come in.

session     what a person is asked, in which order, with repeats and practice
assign      a session of the units that a run holds
packs       a session as a file that is rated elsewhere
machine     where a sitting stands, for any screen
journal     answers on disk, one line each, before the next question appears
ingest      journals and packs → ratings and guesses of a run
seats       people at their sessions over a line: leases, ids of answers, steps ahead
invitations sessions for whoever comes
plans       what people should rate next to calibrate a model
"""
