"""Infinity's ONNX engine on a local export; its own search gives an absolute path that today's optimum refuses."""

from pathlib import Path

from infinity_emb.cli import cli
from infinity_emb.transformer.embedder import optimum

optimum.get_onnx_files = lambda **_: Path("model.onnx")

if __name__ == "__main__":
    cli()
