# LangChain for Python: OpenAIEmbeddings and an in-memory vector store.
import os

from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings

embeddings = OpenAIEmbeddings(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:11445/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "any"),
    model=os.environ.get("EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2"),
    # Without it LangChain sends token ids of OpenAI's own vocabulary, which mean other words to any other model.
    check_embedding_ctx_length=False,
)
store = InMemoryVectorStore(embeddings)
store.add_texts(["A cat naps in the sun.", "The invoice is due on Friday.", "Rain is expected tomorrow."])

for document, score in store.similarity_search_with_score("When do I have to pay?", k=3):
    print(f"{score:.3f}  {document.page_content}")
