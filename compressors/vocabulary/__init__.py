"""Vocabulary trimming: keep the tokens that a language uses, exactly, with a certificate."""

from ndogo.compressors.vocabulary.model import trim_model
from ndogo.compressors.vocabulary.selection import Wanted
from ndogo.compressors.vocabulary.trimming import trim

__all__ = ["Wanted", "trim", "trim_model"]
