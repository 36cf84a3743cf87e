"""The embedding model for OpenAI-compatible services of Dify's plugins: credentials checked, then the texts without and with a user."""

import json
import sys

from dify_plugin.interfaces.model.openai_compatible.text_embedding import OAICompatEmbeddingModel

base, model, *texts = sys.argv[1:]


class Offline(OAICompatEmbeddingModel):
    # The original downloads GPT-2's vocabulary from OpenAI, to cut texts that are too long.
    def _get_num_tokens_by_gpt2(self, text: str) -> int:
        return len(text)


credentials = {"api_key": "sk-any", "endpoint_url": base, "context_size": 512}
embedder = Offline([])
embedder.validate_credentials(model, credentials)
answers = [embedder.invoke(model, credentials, texts), embedder.invoke(model, credentials, texts, user="abc-123")]
assert all(answer.usage.total_tokens > 0 for answer in answers)
print(json.dumps([answer.embeddings for answer in answers]))
