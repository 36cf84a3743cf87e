# LangChain as it is by default: token ids instead of texts. Its tokenizer is stood in for by one of bytes, whose ids begin at `first`;
# with `first` absent it is tiktoken's own, which has to be downloaded. Prints what came of it as JSON.
import json
import sys

import tiktoken
import tiktoken.registry
from langchain_openai import OpenAIEmbeddings

base_url, model, *first = sys.argv[1:]

if first:
    ranks = {bytes([byte]): int(first[0]) + byte for byte in range(256)}
    tiktoken.registry.ENCODINGS["cl100k_base"] = tiktoken.Encoding(
        "cl100k_base", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={}
    )

embeddings = OpenAIEmbeddings(base_url=base_url, api_key="any", model=model, max_retries=0)
try:
    print(json.dumps({"vector": embeddings.embed_query("When do I have to pay?")}))
except Exception as error:
    print(json.dumps({"class": type(error).__name__, "message": str(error)}))
