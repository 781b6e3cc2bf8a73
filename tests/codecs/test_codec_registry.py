import subprocess
import sys

import pytest

from zllm.codecs import registry
from zllm.codecs.store import StoreCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.errors import EXIT_MISSING, MissingCodecError, UsageError

PLUGIN = """
from zllm.codecs.store import StoreCodec

class Reversed(StoreCodec):
    name = "reversed"
    id = 200
    def encode(self, data, boundaries=()):
        return bytes(data)[::-1]
    def decode(self, payload, size, boundaries=()):
        return super().decode(bytes(payload)[::-1], size)

class Twin(Reversed):
    name = "twin"

class Low(Reversed):
    name = "low"
    id = 2

class NeedsModel(Reversed):
    name = "needy"
    id = 201
    needs_model = True
    def __init__(self, model):
        self.model = model

not_a_codec = 7
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a fake distribution with these entry points."""

    def make(module: str, *entries: str) -> None:
        (tmp_path / "zllm_fake_plugin.py").write_text(PLUGIN)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[zllm.codecs]\n" + "\n".join(entries) + "\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield make
    sys.modules.pop("zllm_fake_plugin", None)


def test_builtin_ids_never_change():
    names = registry.names()
    assert {name: names[codec_id] for codec_id, name in enumerate(["store", "lz4", "zstd", "llm", "cm"])} == {
        "store": "store",
        "lz4": "lz4",
        "zstd": "zstd",
        "llm": "llm",
        "cm": "cm",
    }


def test_get_and_by_name():
    assert isinstance(registry.get(0), StoreCodec)
    assert isinstance(registry.get(2), ZstdCodec)
    assert isinstance(registry.by_name("zstd"), ZstdCodec)


def test_unknown():
    with pytest.raises(MissingCodecError, match="99") as caught:
        registry.get(99)
    assert caught.value.codec_id == 99
    assert caught.value.exit_code == EXIT_MISSING
    with pytest.raises(UsageError, match=r"there are .*lz4.*zstd"):
        registry.by_name("nonesuch")
    assert registry.name_of(99) == "codec-99"


def test_third_party_codec(install):
    install("reversing", "reversed = zllm_fake_plugin:Reversed")
    codec = registry.get(200)
    assert codec.decode(codec.encode(b"abc"), 3) == b"abc"
    assert codec.encode(b"abc") == b"cba"
    assert registry.by_name("reversed").id == 200
    assert registry.names()[200] == registry.name_of(200) == "reversed"


def test_third_party_codec_with_a_model(install):
    install("needing", "needy = zllm_fake_plugin:NeedsModel")
    assert registry.get(201, model="m").model == "m"
    with pytest.raises(UsageError, match="needs a model"):
        registry.get(201)


def test_broken_plug_ins_do_not_keep_others_from_working(install):
    install(
        "mixed",
        "reversed = zllm_fake_plugin:Reversed",
        "gone = zllm_no_such_module:Codec",
        "number = zllm_fake_plugin:not_a_codec",
        "low = zllm_fake_plugin:Low",
        "misnamed = zllm_fake_plugin:Twin",
    )
    assert registry.get(200).name == "reversed"
    assert isinstance(registry.get(2), ZstdCodec)
    assert set(registry.names().values()) == {
        "store",
        "lz4",
        "zstd",
        "llm",
        "cm",
        "pcm",
        "image",
        "tensors",
        "rebuild",
        "jpeg",
        "reversed",
    }
    with pytest.raises(MissingCodecError) as caught:
        registry.get(199)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_two_claims_of_one_id(install):
    install("double", "reversed = zllm_fake_plugin:Reversed", "twin = zllm_fake_plugin:Twin")
    with pytest.raises(UsageError, match=r"Reversed and .*Twin"):
        registry.get(200)


def test_lazy():
    """Asking for one codec imports no other."""
    code = (
        "import sys; from zllm.codecs import registry; registry.get(0);"
        "print([m for m in ('zstandard', 'lz4', 'torch', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
