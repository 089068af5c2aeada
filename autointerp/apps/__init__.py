"""The faces: they parse, call one verb and show its events and result; only they render.

cli         a file is a command
terminal    a person's session: a full screen, or plain lines
"""
