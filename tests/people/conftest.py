from support.sessions import clock, journal_of, make_session

__all__ = ["clock", "journal_of", "make_session"]
