"""Where units fire: the corpus in one pass, and which units are drawn."""
