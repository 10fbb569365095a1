"""Distillation and language adaptation: fast, resumable to the bit, on any model directory. `train.train` is the way in."""
