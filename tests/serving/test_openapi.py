"""The OpenAPI document says what the service does: its paths, its answers, its refusals."""

import re

import pytest

import catdog_cli

from .served import make_form, running


@pytest.fixture(scope="module")
def served(checkpoint):
    app = catdog_cli.app(checkpoint, models={"other": checkpoint}, token="long enough", device="cpu")
    with running(app) as served:
        yield served


@pytest.fixture(scope="module")
def document(served):
    return served.ask(path="/openapi.json")[1]


def find(document, schema):
    """Return a schema, looked up where it is named."""
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return document["components"]["schemas"][name] if name else schema


def find_faults(document, schema, value, place="$"):
    """Yield where a value is not what a schema says; of JSON Schema, what the document uses."""
    schema = find(document, schema)
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int}
    kinds |= {"boolean": bool, "null": type(None)}
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r}"
    if "const" in schema and value != schema["const"]:
        yield f"{place}: {value!r}"
    allowed = schema.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if allowed and not any(isinstance(value, kinds[kind]) for kind in allowed):
        yield f"{place}: {value!r} is not {allowed}"
        return
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        yield from (f"{place}: no {name}" for name in set(schema.get("required", ())) - set(value))
        yield from (f"{place}: {name} is not described" for name in set(value) - set(properties))
        for name in set(value) & set(properties):
            yield from find_faults(document, properties[name], value[name], f"{place}.{name}")
    if isinstance(value, list) and "items" in schema:
        for each in value:
            yield from find_faults(document, schema["items"], each, f"{place}[]")


def test_it_names_every_path_of_the_service(served, document):
    assert document["openapi"] == "3.1.0"
    told = {path: {method.upper() for method in methods} for path, methods in document["paths"].items()}
    own = {
        path: set(methods)
        for path, methods in served.service.endpoints.items()
        if path not in served.service.files and path != "/openapi.json"
    }
    assert told == own


def test_every_reference_leads_somewhere(document):
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names == set(document["components"]["schemas"])
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert all(answer["description"] for answer in operation["responses"].values())


def test_answers_are_as_it_says(served, document, pictures):
    token = {"Authorization": "Bearer long enough"}
    form, kind = make_form(("a.png", pictures[0]), ("b.png", b""))
    asked = [
        ("POST", "/predict", pictures[0], {"Content_Type": "image/png", **token}, 200),
        ("POST", "/predict", form, {"Content_Type": kind, **token}, 200),
        ("POST", "/predict", b"", {"Content_Type": "image/png", **token}, 422),
        ("POST", "/predict", b"", {"Content_Type": "image/png"}, 401),
        ("POST", "/predict?model=x", b"", {"Content_Type": "image/png", **token}, 404),
        ("POST", "/predict", b"", {"Content_Type": "text/plain", **token}, 415),
        ("POST", "/predict", b"", {"Content_Type": "image/png", "Host": "x", **token}, 421),
        ("GET", "/model", None, token, 200),
        ("POST", "/reload", None, token, 200),
        ("GET", "/health", None, {}, 200),
    ]
    for method, path, body, headers, status in asked:
        found, answer, _ = served.ask(method, path, body, **headers)
        assert found == status
        operation = document["paths"][path.partition("?")[0]][method.lower()]
        schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        assert list(find_faults(document, schema, answer)) == []


def test_the_checker_finds_faults(document):
    schema = {"$ref": "#/components/schemas/Prediction"}
    row = {"path": 1, "status": "maybe", "predictions": [{"class": "a", "name": "a"}], "more": 0}
    faults = list(find_faults(document, schema, row))
    assert len(faults) == 5
