"""Ndogo: small models of one language from multilingual encoders."""
