"""What an export's folder looks like: the names that writer, judge and page share."""

FOLDER, MANIFEST, TOKENIZER = "onnx", "export.json", "tokenizer.json"
"""Below the bundle; the manifest says head, limits, labels, files and which file is the default."""

WEB = "web"
"""Below the bundle: the page, where it was asked for."""

HIDDEN, MIDDLE = "last_hidden_state", "middle_hidden_state"
"""The encoder's states after the last layer, which every file gives, and after the middle one, which stays inside the graph under
this name: benchmarks are judged on the two side by side."""
