"""The specification: that of FastAPI, with our errors and tokens in it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from autointerp.apps.service._problems import MEDIA_TYPE, ProblemDetails, phrase_of

# Of every route: they come from the gate, the access, or the store.
ERRORS = (400, 401, 403, 404, 405, 409, 413, 414, 421, 422, 429, 500, 502, 503)
METHODS = ("get", "post", "put", "patch", "delete")


def specification(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = FastAPI.openapi(app)
    parts = schema.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"token": []}]
    problem = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    for path in schema["paths"].values():
        for method in METHODS:
            if method not in path:
                continue
            for status in ERRORS:
                path[method]["responses"][str(status)] = {
                    "description": phrase_of(status),
                    "content": {MEDIA_TYPE: problem},
                }
            if method == "get":
                path[method]["responses"]["304"] = {"description": "Not Modified"}
    app.openapi_schema = schema
    return schema
