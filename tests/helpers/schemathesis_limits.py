# What no schema of the API can say, since it differs from model to model: requests are for a model that is served, with dimensions,
# token ids and a prompt that it has. What breaks the schema is left as it is.
import os

import schemathesis

MODEL = os.environ["API_MODEL"]
DIMENSIONS = int(os.environ["API_DIMENSIONS"])
VOCABULARY = int(os.environ["API_VOCABULARY"])
# Every model has this one.
PROMPT = "query"
LARGEST_IN_SCHEMA = 2**53 - 1


def within(value, limit):
    # JSON knows one kind of number: 5.0 is an integer to a schema.
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    return limit if whole and limit < value <= LARGEST_IN_SCHEMA else value


def known_ids(value):
    return [known_ids(item) for item in value] if isinstance(value, list) else within(value, VOCABULARY - 1)


# Called for every request, whichever way it was thought up.
@schemathesis.hook
def before_call(context, case, kwargs):
    if not isinstance(case.body, dict):
        return
    changed = dict(case.body)
    if isinstance(changed.get("model"), str) and changed["model"] != "":
        changed["model"] = MODEL
    if "dimensions" in changed:
        changed["dimensions"] = within(changed["dimensions"], DIMENSIONS)
    if isinstance(changed.get("prompt_name"), str):
        changed["prompt_name"] = PROMPT
    if "input" in changed:
        changed["input"] = known_ids(changed["input"])
    case.body = changed
