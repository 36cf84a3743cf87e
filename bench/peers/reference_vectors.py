"""sentence-transformers' vectors in float32, each text alone: reads a JSON list of texts, answers with one of vectors."""

import json
import sys

from sentence_transformers import SentenceTransformer

folder, device = sys.argv[1], sys.argv[2]
model = SentenceTransformer(folder, device=device, model_kwargs={"dtype": "float32"})
texts = json.load(sys.stdin)
vectors = model.encode(texts, batch_size=1, normalize_embeddings=True, show_progress_bar=False)
json.dump(vectors.tolist(), sys.stdout)
