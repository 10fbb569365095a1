"""The steps of a recipe: one file per kind in kinds/, each with its specification, its planning and its making.

step.py is what all kinds have; recipe.py reads a recipe, plan.py says what it will make. Nothing here imports torch at its top.
"""
