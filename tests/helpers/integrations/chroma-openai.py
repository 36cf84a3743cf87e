"""Chroma's OpenAI embedding function, unmodified: prints the vectors of the texts, in one call and one by one."""

import json
import sys

from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction

base, model, *texts = sys.argv[1:]
embed = OpenAIEmbeddingFunction(api_key="any", api_base=base, model_name=model)
print(json.dumps([[vector.tolist() for vector in embed(texts)], [embed([text])[0].tolist() for text in texts]]))
