"""Python-based Triton backends: a folder `<name>/model.py` serves every model whose config names it."""
