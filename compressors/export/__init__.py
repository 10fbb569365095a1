"""From a model directory to files that run without torch: ONNX graphs in three precisions, judged before they ship."""

from ndogo.compressors.export.bundle import FOLDER, MANIFEST, Settings, export

__all__ = ["FOLDER", "MANIFEST", "Settings", "export"]
