"""Haystack's OpenAI embedders, unmodified: prints the vectors of the texts, one by one and as documents."""

import json
import sys

from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret

base, model, *texts = sys.argv[1:]
settings = {"api_base_url": base, "api_key": Secret.from_token("any"), "model": model}
documents = OpenAIDocumentEmbedder(**settings, progress_bar=False).run([Document(content=text) for text in texts])["documents"]
one = OpenAITextEmbedder(**settings)
print(json.dumps([[document.embedding for document in documents], [one.run(text)["embedding"] for text in texts]]))
