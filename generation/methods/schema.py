"""Describe every guidance method's settings as a JSON Schema, from the declarations of ``settings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.generation.methods.base import Guidance, JSONObject, plain
from evenhand.generation.methods.registry import methods
from evenhand.generation.methods.settings import Setting, settings_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(kinds: Mapping[str, type[Guidance]] | None = None) -> JSONObject:
    """Return a JSON Schema (2020-12) of a guidance as ``to_dict`` writes it and ``from_dict`` reads it.

    kinds: methods by name; those of the registry by default. What lies between two settings, such as stop > first, no
    schema says; ``from_dict`` checks it.
    """
    kinds = methods() if kinds is None else kinds
    return {
        "$schema": DIALECT,
        "title": "Guidance of an arm",
        "type": "object",
        "required": ["method"],
        "properties": {"method": {"enum": list(kinds)}},
        "allOf": [
            {
                "if": {"properties": {"method": {"const": name}}, "required": ["method"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in kinds
        ],
        "$defs": {name: schema_of_method(kind) for name, kind in kinds.items()},
    }


def schema_of_method(kind: type[Guidance]) -> JSONObject:
    """Return the schema of one method's object; missing settings have their defaults."""
    default = kind()
    defaults = {name: plain(getattr(default, name)) for name in settings_of(kind)} | default.to_dict()
    own = {name: _of_setting(setting) | {"default": defaults[name]} for name, setting in settings_of(kind).items()}
    described_method: JSONObject = {
        "title": kind.short,
        "description": (kind.__doc__ or "").partition("\n")[0],
        "type": "object",
        "required": ["method"],
        "properties": {"method": {"const": kind.method}, **own},
        "additionalProperties": False,
    }
    if kind.variants:
        described_method["allOf"] = [
            _variant(kind.variant_by, str(defaults[kind.variant_by]), name, options)
            for name, options in kind.variants.items()
        ]
    return described_method


def _variant(by: str, default: str, name: str, options: Mapping[str, tuple[Setting, Any]]) -> JSONObject:
    """The options of one variant: where the setting that decides has its name, or is left out and it is the default."""
    condition: JSONObject = {"properties": {by: {"const": name}}}
    if name != default:
        condition["required"] = [by]
    return {
        "if": condition,
        "then": {
            "properties": {
                "settings": {
                    "properties": {
                        key: _of_setting(setting) | {"default": plain(value)}
                        for key, (setting, value) in options.items()
                    },
                    "additionalProperties": False,
                }
            }
        },
    }


def _of_setting(setting: Setting) -> JSONObject:
    if setting.kind in ("opening", "guidance"):
        nested = "#/$defs/classifier_free" if setting.kind == "opening" else "#"
        described: JSONObject = {"anyOf": [{"$ref": nested}]}
        if setting.optional:
            described["anyOf"].append({"type": "null"})
    else:
        described = dict(_KINDS[setting.kind])
        bounds = {"minimum": setting.low, "maximum": setting.high}
        limits = {name: limit for name, limit in bounds.items() if limit is not None}
        if "items" in described:
            described["items"] = described["items"] | limits
        else:
            described |= limits
        if setting.choices:
            described["enum"] = list(setting.choices)
        if setting.optional:
            described["type"] = [described["type"], "null"]
            if "enum" in described:
                described["enum"].append(None)
    return described | {"description": setting.help}


_KINDS: Mapping[str, JSONObject] = {
    "number": {"type": "number"},
    "numbers": {"type": "array", "items": {"type": "number"}, "minItems": 1},
    "whole": {"type": "integer", "minimum": 0},
    "dimensions": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
    "flag": {"type": "boolean"},
    "text": {"type": "string"},
    "choice": {"type": "string"},
    "layers": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    "options": {"type": "object"},
}
