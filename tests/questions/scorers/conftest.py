from support.held_out import make_held_out

__all__ = ["make_held_out"]
