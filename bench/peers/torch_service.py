"""The obvious embedding service: FastAPI over transformers' AutoModel, mean pooling, one forward pass per request."""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoTokenizer

folder, port = sys.argv[1], int(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder).eval()
app = FastAPI()


class Request(BaseModel):
    model: str
    input: str | list[str]
    encoding_format: str = "float"


@app.post("/v1/embeddings")
def embeddings(request: Request):
    # Not async: FastAPI runs it in a thread, so that one forward pass does not stop the server.
    texts = [request.input] if isinstance(request.input, str) else request.input
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    tokens = int(inputs["attention_mask"].sum())
    return {
        "object": "list",
        "model": request.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors.tolist())
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
