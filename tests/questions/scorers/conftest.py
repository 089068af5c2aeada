from support.scorer_material import make_material

__all__ = ["make_material"]
