"""Prefect tasks: one thin wrapper per thing that one would retry or look up later."""
