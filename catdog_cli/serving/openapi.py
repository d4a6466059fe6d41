"""The OpenAPI 3.1 document of the service, written by hand: five paths."""

from collections.abc import Sequence
from typing import Any

from .. import __version__
from .limits import Limits

Schema = dict[str, Any]

CLASS: Schema = {
    "type": "object",
    "required": ["class", "name", "probability"],
    "properties": {
        "class": {"type": "string", "description": "Its folder's name."},
        "name": {"type": "string", "description": "What to show."},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
PREDICTION: Schema = {
    "type": "object",
    "description": "What `catdog predict --json` prints of a picture.",
    "required": ["path", "status", "error", "predictions"],
    "properties": {
        "path": {
            "type": "string",
            "description": "The file's name in a form; - of a body that is the picture.",
        },
        "status": {"enum": ["ok", "error"]},
        "error": {"type": ["string", "null"], "description": "Why it cannot be read."},
        "known": {
            "type": "object",
            "description": "Where the checkpoint tells strangers.",
            "required": ["p_value", "is_known"],
            "properties": {
                "p_value": {
                    "type": "number",
                    "description": "At most this share of pictures of the trained kind is as strange.",
                },
                "is_known": {"type": "boolean"},
            },
        },
        "labels": {
            "type": "array",
            "description": "Of several labels a picture, those above their thresholds.",
            "items": {"$ref": "#/components/schemas/Class"},
        },
        "sure": {
            "type": "object",
            "description": "The classes that it may be, where the service was started with --sure.",
            "required": ["level", "classes"],
            "properties": {
                "level": {"type": "number"},
                "classes": {"type": "array", "items": {"type": "string"}},
            },
        },
        "predictions": {
            "type": "array",
            "description": "The likeliest classes, best first; none of a picture that cannot be read.",
            "items": {"$ref": "#/components/schemas/Class"},
        },
    },
}
MODEL: Schema = {
    "type": "object",
    "required": [
        *("name", "file", "digest", "loaded", "arch", "several_labels", "temperature", "unknown_rate"),
        "classes",
    ],
    "properties": {
        "name": {"type": "string"},
        "file": {"type": "string"},
        "digest": {"type": "string", "description": "Of the file's bytes (BLAKE2b, 128 bits)."},
        "loaded": {"type": "string", "format": "date-time"},
        "arch": {"type": "string"},
        "several_labels": {"type": "boolean", "description": "Whether a picture may have several labels."},
        "temperature": {"type": "number", "description": "By which logits are divided."},
        "unknown_rate": {
            "type": ["number", "null"],
            "description": "At most this share of pictures of the trained kind is called unknown.",
        },
        "classes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["class", "name"],
                "properties": {
                    "class": {"type": "string"},
                    "name": {"type": "string"},
                    "threshold": {"type": "number"},
                },
            },
        },
    },
}
ERROR: Schema = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
REFUSALS = {
    "400": "The form or a parameter is damaged.",
    "401": "The token is missing or wrong.",
    "403": "Another page asked for this, in a browser.",
    "404": "There is no such path, or no such model.",
    "408": "The body took too long.",
    "413": "The body is too large, or holds too many pictures.",
    "415": "The body is neither a picture nor a form of pictures.",
    "421": "The server is not known under this name.",
    "503": "Too many pictures wait: try again after the seconds in Retry-After.",
}


def describe_api(models: Sequence[str], limits: Limits) -> dict[str, Any]:
    """Return the document of a service with models of these names."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "catdog",
            "version": __version__,
            "description": "Says what pictures show. Pictures are kept in memory, and only until the answer.",
        },
        "paths": {
            "/predict": {"post": _describe_predict(models, limits)},
            "/model": {"get": _describe_model()},
            "/reload": {"post": _describe_reload()},
            "/health": {"get": _describe_health()},
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Counts, as Prometheus reads them",
                    "security": [{"token": []}, {}],
                    "responses": {
                        "200": {
                            "description": "Requests, seconds, pictures, batches, memory.",
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        },
                        **_refuse("401", "421"),
                    },
                }
            },
        },
        "components": {
            "schemas": {"Class": CLASS, "Prediction": PREDICTION, "Model": MODEL, "Error": ERROR},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Where the service was started with a token.",
                }
            },
        },
    }


def _describe_predict(models: Sequence[str], limits: Limits) -> Schema:
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
    picture = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    form = {
        "schema": {
            "type": "object",
            "properties": {
                "picture": {
                    "type": "array",
                    "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                    "maxItems": limits.pictures,
                }
            },
        }
    }
    return {
        "operationId": "predict",
        "summary": "Say what one or several pictures show",
        "description": (
            f"The body is the file of a picture, or a form with up to {limits.pictures} of them; it has at "
            f"most {limits.body_bytes / 1e6:g} MB. JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PPM and "
            f"TGA are read, whatever the Content-Type says."
        ),
        "security": [{"token": []}, {}],
        "parameters": [
            {
                "name": "model",
                "in": "query",
                "description": "Which model answers.",
                "schema": {"enum": list(models), "default": models[0]},
            },
            {
                "name": "top_k",
                "in": "query",
                "description": "How many classes to name.",
                "schema": {"type": "integer", "minimum": 1, "default": 5},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"image/*": picture, "application/octet-stream": picture, "multipart/form-data": form},
        },
        "responses": {
            "200": {"description": "A row for each picture, in order.", "content": _json(rows)},
            "422": {"description": "None of the pictures can be read.", "content": _json(rows)},
            **_refuse(*REFUSALS),
        },
    }


def _describe_model() -> Schema:
    schema = {
        "type": "object",
        "required": ["default", "models"],
        "properties": {
            "default": {"type": "string"},
            "models": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
        },
    }
    return {
        "operationId": "model",
        "summary": "Say which models answer, and what their classes are",
        "security": [{"token": []}, {}],
        "responses": {
            "200": {"description": "All models.", "content": _json(schema)},
            **_refuse("401", "421"),
        },
    }


def _describe_reload() -> Schema:
    schema = {
        "type": "object",
        "required": ["reloaded"],
        "properties": {"reloaded": {"type": "array", "items": {"type": "string"}}},
    }
    stays = {"description": "A file cannot be used: the old ones stay.", "content": _error()}
    return {
        "operationId": "reload",
        "summary": "Load the checkpoints whose files have changed; no request is dropped",
        "security": [{"token": []}],
        "responses": {
            "200": {"description": "The names of those that have changed.", "content": _json(schema)},
            "409": stays,
            **_refuse("401", "403", "421"),
        },
    }


def _describe_health() -> Schema:
    schema = {
        "type": "object",
        "required": ["status", "waiting"],
        "properties": {
            "status": {"const": "ok"},
            "waiting": {"type": "integer", "description": "Pictures that wait."},
        },
    }
    return {
        "operationId": "health",
        "summary": "Say that the service answers",
        "security": [],
        "responses": {"200": {"description": "It does.", "content": _json(schema)}, **_refuse("421")},
    }


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _error() -> Schema:
    return _json({"$ref": "#/components/schemas/Error"})


def _refuse(*statuses: str) -> Schema:
    return {status: {"description": REFUSALS[status], "content": _error()} for status in statuses}
