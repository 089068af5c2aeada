"""Calls in flight: what is pending, retries, pace, budget, batches.

work      what is still to be rated, and rating it
loop      the queue of calls, its workers and its one writer
pace      calls at once and calls a minute, learned from the server
own_loop  an event loop for one coroutine, in a notebook, too
composed  raters that are made of others
retry     when a call is made again
signals   Ctrl-C and its like, held while calls are in flight
patience  when asking is of no use
twins     calls of equal content, which share one reply
silence   what is said where nothing happens
budget    money, reserved before a call
forecast  what calls will probably take, before they are made
batches   calls handed to a provider's batch API
"""
