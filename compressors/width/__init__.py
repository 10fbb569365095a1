"""Cutting the FFN and the hidden width: importance, selection, cutting."""
