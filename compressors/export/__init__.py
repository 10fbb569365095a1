"""From a model directory to files that run without torch: ONNX graphs in three precisions, judged before they ship."""

from ndogo.compressors.export.bundle import Settings, export, lines_to_compare
from ndogo.compressors.export.page import page

__all__ = ["Settings", "export", "lines_to_compare", "page"]
