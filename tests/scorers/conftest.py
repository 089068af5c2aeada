from conftest_scorers import make_material

__all__ = ["make_material"]
