"""A validator that is not ours, for the schema of a node."""

import pytest
from jsonschema import Draft202012Validator

from dreamd.inbox.document.node import node_schema


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(node_schema())
    return Draft202012Validator(node_schema())
