"""The plain ONNX export (three inputs, last_hidden_state) that the ONNX-based peers load."""

import sys
from pathlib import Path

from optimum.exporters.onnx import main_export

source, target = sys.argv[1], Path(sys.argv[2])
main_export(source, output=target, task="feature-extraction", library_name="transformers", device="cpu")
