# The official OpenAI client for Python: only the base URL changes.
import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:11445/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "any"),
)
model = os.environ.get("EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2")
texts = ["A cat naps in the sun.", "The invoice is due on Friday.", "Rain is expected tomorrow."]
question = "When do I have to pay?"

answer = client.embeddings.create(model=model, input=[*texts, question])
*passages, query = [item.embedding for item in answer.data]


def cosine(a, b):
    # The vectors have length one.
    return sum(x * y for x, y in zip(a, b))


for score, text in sorted(((cosine(query, vector), text) for vector, text in zip(passages, texts)), reverse=True):
    print(f"{score:.3f}  {text}")
