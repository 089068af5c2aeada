"""The faces: they parse, call one verb and show its events and result; only they render.

cli         a file is a command
service     HTTP: pages, people who rate, and the API /v1; a file is a router
terminal    a person's session: a full screen, or plain lines
"""
