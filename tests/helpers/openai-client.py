# What the official Python client makes of a service, as one JSON value: vectors, usage, and the class of each error.
import json
import sys

import openai

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="any", max_retries=0)


def embed(**fields):
    answer = client.embeddings.create(**{"model": model, "input": "a", **fields})
    return {
        "vectors": [item.embedding for item in answer.data],
        "indices": [item.index for item in answer.data],
        "model": answer.model,
        "prompt_tokens": answer.usage.prompt_tokens,
    }


def failure(call):
    try:
        call()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "code": error.code,
            "param": error.param,
            "request_id": bool(error.request_id),
        }
    return None


print(
    json.dumps(
        {
            "string": embed(input="one text"),
            "list": embed(input=["a", "b"]),
            "tokens": embed(input=[[101, 102], [101, 7592, 102]]),
            "float": embed(encoding_format="float"),
            "dimensions": embed(dimensions=128),
            "models": [entry.id for entry in client.models.list()],
            "model": client.models.retrieve(model).id,
            "errors": {
                "bad": failure(lambda: embed(dimensions=5000)),
                "unknown": failure(lambda: embed(model="gpt-9")),
            },
        }
    )
)
