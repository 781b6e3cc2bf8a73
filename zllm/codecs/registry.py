"""Which codec has which id. Nothing is imported before it is asked for.

Third parties add codecs by an entry point of group ``zllm.codecs``: its value is the :class:`~zllm.codecs.base.Codec`
subclass, its name the subclass's ``name``, its ``id`` between 64 and 255. Ids below 64 are zllm's own.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

from zllm.codecs.base import Codec
from zllm.errors import MissingCodecError, UsageError

ENTRY_POINT_GROUP = "zllm.codecs"
FIRST_FOREIGN_ID = 64
LAST_ID = 255

# id: (name, module, class). Ids are never reused, and a codec that was ever written stays here for ever.
_BUILTIN: dict[int, tuple[str, str, str]] = {
    0: ("store", "zllm.codecs.store", "StoreCodec"),
    1: ("lz4", "zllm.codecs.lz4", "Lz4Codec"),
    2: ("zstd", "zllm.codecs.zstd", "ZstdCodec"),
    3: ("llm", "zllm.codecs.llm", "LlmCodec"),
    4: ("cm", "zllm.codecs.cm", "CmCodec"),
    5: ("pcm", "zllm.codecs.pcm", "PcmCodec"),
    6: ("image", "zllm.codecs.image", "ImageCodec"),
    7: ("tensors", "zllm.codecs.tensors", "TensorsCodec"),
    8: ("rebuild", "zllm.codecs.rebuild", "RebuildCodec"),
    9: ("jpeg", "zllm.codecs.jpeg", "JpegCodec"),
}


def codec_class(codec_id: int) -> type[Codec]:
    """The class with this id.

    Raises:
        MissingCodecError: no installed package provides it, or what it needs.
        UsageError: two installed packages claim the id.
    """
    builtin = _BUILTIN.get(codec_id)
    if builtin is not None:
        own = _import(builtin)
        if not _usable(own):
            raise MissingCodecError(codec_id, name=own.name, hint=f"pip install 'zllm[{own.extra[1]}]'")
        return own
    found, failure = _foreign()
    claims = [codec for codec in found if codec.id == codec_id]
    if len(claims) > 1:
        names = " and ".join(f"{codec.__module__}.{codec.__qualname__}" for codec in claims)
        raise UsageError(f"codec id {codec_id} is claimed by {names}: uninstall one of them")
    if not claims:
        raise MissingCodecError(codec_id) from failure
    return claims[0]


def get(codec_id: int, model: object | None = None) -> Codec:
    """An instance of the codec with this id. ``model`` goes to codecs that need one (see ``Codec.needs_model``).

    Raises:
        MissingCodecError: no installed package provides it.
        UsageError: the codec needs a model and none was given, or two packages claim the id.
    """
    return _instance(codec_class(codec_id), model)


def by_name(name: str, model: object | None = None, settings: Mapping[str, int] | None = None) -> Codec:
    """An instance of the codec with this name. ``settings``: those of another instance, see :meth:`Codec.settings`.

    Raises:
        UsageError: there is none, or it needs a model and none was given.
    """
    for builtin in _BUILTIN.values():
        if builtin[0] == name:
            return _instance(_import(builtin), model, settings)
    found, failure = _foreign()
    for codec in found:
        if codec.name == name:
            return _instance(codec, model, settings)
    raise UsageError(f"no codec is called {name!r}; there are {', '.join(sorted(_names(found)))}") from failure


def package_of(name: str) -> str:
    """Name and version of the installed package that adds the codec with this name; empty for zllm's own."""
    from importlib import metadata

    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == name and entry.dist is not None:
            return f"{entry.dist.name} {entry.dist.version}"
    return ""


def chosen() -> list[type[Codec]]:
    """All installed codecs that say what they are for, zllm's own first."""
    every = [_import(builtin) for builtin in _BUILTIN.values()]
    return [codec for codec in every if codec.categories and _usable(codec)] + foreign()


def foreign() -> list[type[Codec]]:
    """Codecs of other packages that say what they are for, by id. One that fails to load, or whose id another claims
    as well, is left out: nothing could be read again that it wrote."""
    found, _ = _foreign()
    ids = [codec.id for codec in found]
    usable = [codec for codec in found if codec.categories and ids.count(codec.id) == 1]
    return sorted(usable, key=lambda codec: codec.id)


def names() -> dict[int, str]:
    """Name by id, of all installed codecs."""
    found, _ = _foreign()
    result = {codec_id: builtin[0] for codec_id, builtin in _BUILTIN.items()}
    result.update({codec.id: codec.name for codec in found})
    return result


def name_of(codec_id: int) -> str:
    """The name for listings; ``codec-<id>`` where no installed package knows it."""
    builtin = _BUILTIN.get(codec_id)
    return builtin[0] if builtin is not None else names().get(codec_id, f"codec-{codec_id}")


def _usable(codec: type[Codec]) -> bool:
    """Whether the module that it needs is there; importing it may take most of a second."""
    module = codec.extra[0]
    return not module or importlib.util.find_spec(module) is not None


def _names(found: list[type[Codec]]) -> set[str]:
    return {builtin[0] for builtin in _BUILTIN.values()} | {codec.name for codec in found}


def _import(builtin: tuple[str, str, str]) -> type[Codec]:
    _, module, class_name = builtin
    result: type[Codec] = getattr(importlib.import_module(module), class_name)
    return result


def _instance(codec: type[Codec], model: object | None, settings: Mapping[str, int] | None = None) -> Codec:
    if codec.needs_model and model is None:
        raise UsageError(f"the codec {codec.name!r} needs a model")
    # Codec itself says nothing of constructors: those of codecs that need a model take it as their first argument, and
    # all others have defaults.
    make: type = codec
    instance: Codec = make(*[model] * codec.needs_model, **(settings or {}))
    return instance


def _foreign() -> tuple[list[type[Codec]], Exception | None]:
    """Codecs of other packages, and the first failure to load one: it matters only if nothing else has the id."""
    from importlib import metadata  # 10 ms, for archives with codecs of others only

    found: list[type[Codec]] = []
    failure: Exception | None = None
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            found.append(_checked(entry.name, entry.load()))
        except Exception as error:  # someone else's code: whatever it raises must not keep our codecs from working
            failure = failure or error
    return found, failure


def _checked(name: str, codec: object) -> type[Codec]:
    if not (isinstance(codec, type) and issubclass(codec, Codec)):
        raise UsageError(f"entry point {name!r} of {ENTRY_POINT_GROUP} is not a Codec subclass")
    if not FIRST_FOREIGN_ID <= codec.id <= LAST_ID:
        raise UsageError(
            f"codec {codec.name!r} has id {codec.id}; ids {FIRST_FOREIGN_ID} to {LAST_ID} are for plug-ins"
        )
    if codec.name != name:
        raise UsageError(f"entry point {name!r} gives a codec called {codec.name!r}")
    return codec
