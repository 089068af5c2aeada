"""The faces: command line, terminal; they parse, call one verb, and show."""
