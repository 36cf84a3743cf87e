# LlamaIndex: OpenAILikeEmbedding and the vector index that comes with it.
import os

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

embedding = OpenAILikeEmbedding(
    api_base=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:11445/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "any"),
    model_name=os.environ.get("EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2"),
)
texts = ["A cat naps in the sun.", "The invoice is due on Friday.", "Rain is expected tomorrow."]
index = VectorStoreIndex(nodes=[TextNode(text=text) for text in texts], embed_model=embedding)

for found in index.as_retriever(similarity_top_k=3).retrieve("When do I have to pay?"):
    print(f"{found.score:.3f}  {found.node.text}")
