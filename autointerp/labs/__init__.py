"""What else can be asked of a unit: the subject is loaded again."""
