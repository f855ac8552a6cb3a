"""The table of operator codes of a ``.tflite`` file."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

_MOST_OF_OLD_CODES = 127
"""Operators of greater numbers have this one where old readers look."""


def operator_code(flat: Any, kind: str, version: int) -> int:
    """Return the place of an operator in the table, where it is put if it is missing.

    Args:
        flat: the model, as objects of the flatbuffer schema.
        kind: TFLite's name, such as ``CONV_2D``.
        version: of the operator at least; TFLite counts up when one takes more types.
    """
    number = getattr(schema.BuiltinOperator, kind)
    for place, code in enumerate(flat.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            code.version = max(code.version, version)
            return place
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, _MOST_OF_OLD_CODES)
    code.version = version
    flat.operatorCodes.append(code)
    return len(flat.operatorCodes) - 1
