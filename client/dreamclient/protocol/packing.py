"""Encodes values as MessagePack, those of a host among them, or says why they cannot be sent."""

from collections.abc import Mapping
from typing import Any

from msgpack import Packer

from dreamclient.errors import UsageError
from dreamclient.messages import DreamContext, PulseSnapshot


def _plain(value: Any) -> Any:
    """Convert a value that the packer does not know: a context, a mapping, or an array or scalar of numpy. Raise
    TypeError for any other, since everything that it refers to would be sent."""
    if isinstance(value, DreamContext | PulseSnapshot):
        return value.__dict__
    if isinstance(value, Mapping):
        return dict(value)
    tolist = getattr(value, "tolist", None)
    if tolist is not None:
        return tolist()
    raise TypeError(f"a {type(value).__name__} cannot be sent; send numbers, texts, lists and maps")


def packed(value: Any) -> bytes:
    """Encode `value`. Raise UsageError if it cannot be encoded. Lone surrogates, which UTF-8 cannot hold, become
    question marks."""
    try:
        try:
            data: bytes = Packer(default=_plain).pack(value)
        except UnicodeEncodeError:
            data = Packer(default=_plain, unicode_errors="replace").pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"this cannot be sent as MessagePack ({type(error).__name__})") from error
    return data
