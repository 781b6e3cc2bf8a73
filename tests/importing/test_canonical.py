"""Each family's tensors, as the canonical network, give the logits that transformers gives."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from importing import hub  # noqa: E402

from zllm.models.importing import canonical, source  # noqa: E402


@pytest.mark.parametrize("family", hub.FAMILIES)
def test_logits_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    model = hub.season(hub.fresh(family))
    folder = hub.save(model, tmp_path / family, family, max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    ids = torch.randint(0, model.config.vocab_size, (2, 100), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        theirs = model(ids).logits
    ours = canonical.logits(source.open_source(str(folder)).family(), ids)
    assert torch.std(theirs) > 0.1
    assert (theirs - ours).abs().max() < 1e-3 * torch.std(theirs)
