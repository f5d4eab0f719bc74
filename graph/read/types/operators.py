"""The operators of filters: their names in Python and what the API says of them."""

from __future__ import annotations

EQUALITY = {
    "eq": "Equal to this value; null asks for what is missing.",
    "ne": "Present and not equal to this value; null asks for what is there.",
    "in_": "Equal to one of these values.",
    "not_in": "Present and equal to none of these values.",
    "is_null": "Whether the value is missing.",
}
RANGE = {"lt": "Less than this.", "lte": "At most this.", "gt": "Greater than this.", "gte": "At least this."}
TEXT = {
    "contains": "Contains this text, whatever the case of ASCII letters; blanks count.",
    "starts_with": "Starts with this text, whatever the case of ASCII letters.",
    "ends_with": "Ends with this text, whatever the case of ASCII letters.",
}
