"""Archives made by a dask cluster are those of one machine; whatever happens to the cluster is one line."""

from __future__ import annotations

import dataclasses
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integrations.cluster import Farm, farm, wait_for
from plugin.install import install
from plugin.zllm_deltas import Deltas
from test_adding_a_codec import counters

import zllm as package
from zllm.codecs.base import Codec
from zllm.codecs.cm import CmCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.errors import ClusterError
from zllm.integrations import dask_worker
from zllm.integrations.dask_worker import Order, difference, software
from zllm.models import store, zlm

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Two workers that nothing happens to."""
    pytest.importorskip("distributed")
    with farm(tmp_path_factory.mktemp("pair")) as made:
        made.add(2)
        yield made


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Farm]:
    """A scheduler without workers."""
    pytest.importorskip("distributed")
    folder = tmp_path / "farm"
    folder.mkdir()
    with farm(folder) as made:
        yield made


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of docs/adding-a-codec.md, here and in programs that are started."""
    site = tmp_path / "site"
    site.mkdir()
    install(site)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that wait for 5 s, where there is nothing to wait for."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "5s")


def long_text(texts: Path, size: int) -> str:
    """Prose in which much comes again, with new words between."""
    rng = random.Random(1)
    lines = (texts / "english.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    words = "".join(lines).split()
    parts: list[str] = []
    while sum(map(len, parts)) < size:
        at = rng.randrange(len(lines) - 30)
        parts += [*lines[at : at + 30], " ".join(rng.choices(words, k=12)), "\n"]
    return "".join(parts)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """Small texts of three kinds, 2.1 MB of text, and noise."""
    folder = tmp_path_factory.mktemp("in") / "files"
    shutil.copytree(checkout / "tests" / "golden" / "texts", folder)
    (folder / "long.txt").write_text(long_text(folder, 2_100_000), encoding="utf-8")
    (folder / "noise").write_bytes(random.Random(2).randbytes(300_000))
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Path:
    """A file of 200 KB."""
    path = tmp_path_factory.mktemp("in") / "text"
    path.write_text(long_text(files, 200_000), encoding="utf-8")
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != "farm"}


@pytest.mark.parametrize(("level", "codecs"), [("4", {"zstd"}), ("5", {"zstd", "cm"}), ("6", {"zstd", "cm", "llm"})])
def test_the_same_bytes_as_one_machine(
    zllm: Run, pair: Farm, files: Path, tmp_path: Path, *, level: str, codecs: set[str]
) -> None:
    words = ["create", "--level", level, *(["--model", "fast"] if "llm" in codecs else []), "--stats"]
    before = pair.tasks_done()
    result = zllm(*words, "--dask", pair.address, "there.zllm", "-C", files.parent, "files")
    zllm(*words, "here.zllm", "-C", files.parent, "files")
    assert (tmp_path / "there.zllm").read_bytes() == (tmp_path / "here.zllm").read_bytes()
    assert {name for name in ("zstd", "cm", "llm") if f"\n{name} on workers".encode() in result.stderr} == codecs
    assert all(after > count for count, after in zip(before, pair.tasks_done(), strict=True))


def test_levels_that_a_network_does_not_make_faster(zllm: Run, pair: Farm, tree: Path, tmp_path: Path) -> None:
    before = pair.tasks_done()
    for level in ("1", "3"):
        zllm("create", "--level", level, "--dask", pair.address, f"there{level}.zllm", "tree")
        zllm("create", "--level", level, f"here{level}.zllm", "tree")
        assert (tmp_path / f"there{level}.zllm").read_bytes() == (tmp_path / f"here{level}.zllm").read_bytes()
    assert pair.tasks_done() == before


def test_the_filter(zllm: Run, pair: Farm, files: Path) -> None:
    data = (files / "english.txt").read_bytes()
    archive = zllm("-z", "-5", "--dask", pair.address, data=data).stdout
    assert archive == zllm("-z", "-5", data=data).stdout
    assert zllm("-d", data=archive).stdout == data


def test_a_model_that_the_workers_do_not_have_is_sent(zllm: Run, pair: Farm, files: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.zlm"
    file = zlm.read(store.resolve("fast").path)
    zlm.write(path, {**file.description, "name": "mine"}, file.tensors)
    model = store.load(path)
    assert not any(pair.client.run(dask_worker.has_model, model.sha256).values())
    zllm("create", "--model", path, "--dask", pair.address, "there.zllm", "-C", files, "english.txt")
    zllm("create", "--model", path, "here.zllm", "-C", files, "english.txt")
    assert (tmp_path / "there.zllm").read_bytes() == (tmp_path / "here.zllm").read_bytes()
    with package.open(tmp_path / "there.zllm") as archive:
        assert [entry["name"] for entry in archive.manifest["models"]] == ["mine"]
    assert any(model.sha256 in loaded for loaded in pair.client.run(lambda: list(dask_worker._loaded)).values())


def test_a_worker_that_comes_later_is_sent_the_model(alone: Farm, text: Path, tmp_path: Path) -> None:
    """All that were there have the model; one that comes, when they are gone, does not."""
    path = tmp_path / "mine.zlm"
    file = zlm.read(store.resolve("fast").path)
    zlm.write(path, {**file.description, "name": "mine"}, file.tensors)
    alone.add(
        preload=f"import pathlib\nfrom zllm.models import store\nstore.DATA_FOLDER = pathlib.Path({str(tmp_path)!r})"
    )
    command = [sys.executable, "-m", "zllm", "create", "--model", path, "--dask", alone.address, "there.zllm", text]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(lambda: alone.busy_with("llm"))
    alone.workers[0].kill()
    alone.workers[0].wait()
    alone.add()
    assert process.wait(120) == 0
    with package.open(tmp_path / "here.zllm", "w", model=path) as archive:
        archive.add(text)
    assert (tmp_path / "there.zllm").read_bytes() == (tmp_path / "here.zllm").read_bytes()


def test_a_worker_that_is_killed_half_way(alone: Farm, text: Path, tmp_path: Path) -> None:
    """While it has frames for the model in its hands."""
    from zllm.integrations.dask_ import Cluster

    alone.add(2)
    killed: list[str] = []

    def kill() -> None:
        victim = wait_for(lambda: alone.busy_with("llm"))
        os.kill(pids[victim], signal.SIGKILL)
        killed.append(victim)

    pids = alone.processes()
    options = {"model": "fast", "frame_size": 60_000}
    with package.open(tmp_path / "here.zllm", "w", **options) as archive:
        archive.add(text, "text")
    murderer = threading.Thread(target=kill)
    murderer.start()
    with Cluster(alone.address) as cluster, package.open(tmp_path / "there.zllm", "w", cluster=cluster, **options) as a:
        a.add(text, "text")
    murderer.join()
    assert killed and sum(worker.poll() is not None for worker in alone.workers) == 1
    assert (tmp_path / "there.zllm").read_bytes() == (tmp_path / "here.zllm").read_bytes()


@pytest.mark.usefixtures("impatient")
def test_nobody_answers(zllm: Run, files: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    before = names(tmp_path)
    result = zllm("create", "--dask", "tcp://127.0.0.1:1", "a.zllm", "-C", files, "code.txt", code=2)
    assert result.stderr.startswith(b"zllm: no dask scheduler answered at tcp://127.0.0.1:1 within 5 s")
    assert result.stderr.count(b"\n") == 1 and names(tmp_path) == before


@pytest.mark.parametrize("address", ["nonsense", "foo://host:1", "tls://127.0.0.1:1", ""])
def test_an_address_that_is_none(address: str) -> None:
    pytest.importorskip("distributed")
    from zllm.integrations.dask_ import Cluster

    with pytest.raises(ClusterError, match=r"is not the address of a dask scheduler|needs certificates") as caught:
        Cluster(address)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.usefixtures("impatient")
def test_a_scheduler_without_workers_then_with_odd_ones(zllm: Run, alone: Farm, files: Path, tmp_path: Path) -> None:
    before = names(tmp_path)

    def fails(*because: str) -> None:
        result = zllm("create", "--model", "fast", "--dask", alone.address, "a.zllm", "-C", files, "code.txt", code=2)
        assert result.stderr.count(b"\n") == 1, result.stderr
        for text in because:
            assert text.encode() in result.stderr
        assert names(tmp_path) == before

    def only(preload: str) -> str:
        for worker in alone.workers:
            worker.kill()
            worker.wait()
        wait_for(lambda: not alone.client.nthreads())
        alone.add(preload=preload)
        (address,) = alone.client.nthreads()
        return str(address)

    fails("has no workers")
    worker = only("from zllm import _native\n_native.ARITHMETIC_VERSION += 1\n")
    fails(f"dask worker {worker}: it has arithmetic version")
    worker = only("from zllm.models import store\nstore.KNOWN_ANSWER_TEXT = b'another'\n")
    fails(f"dask worker {worker}: model 'fast' computes other numbers")
    worker = only(
        "from zllm.codecs import cm\ndef cm_encode(*_, **__): raise ValueError('boom')\ncm.cm_encode = cm_encode\n"
    )
    fails(f"dask worker {worker}: ValueError: boom")
    worker = only("import sys\nsys.modules['zllm.integrations.dask_worker'] = None\n")
    fails(f"dask worker {worker} has no zllm that works")


def start(farm: Farm, text: Path, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A program that has given the model's work to a cluster."""
    words = ["create", "--dask", farm.address, "a.zllm", "-C", text.parent, "text"]  # the default model: some seconds
    command = [sys.executable, "-m", "zllm", *map(str, words)]
    # Whoever runs the tests in the background may have told them to ignore Ctrl-C, which children inherit.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    wait_for(lambda: farm.busy_with("llm") or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def test_ctrl_c_calls_everything_off(pair: Farm, text: Path, tmp_path: Path) -> None:
    process = start(pair, text, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT and errors == b""
    assert not names(tmp_path)
    wait_for(lambda: not pair.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("lost", ["workers", "scheduler"])
def test_a_cluster_that_dies(lost: str, alone: Farm, text: Path, tmp_path: Path) -> None:
    alone.add()
    process = start(alone, text, tmp_path)
    (alone.scheduler if lost == "scheduler" else alone.workers[0]).kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and errors.count(b"\n") == 1, errors
    assert (b"scheduler" if lost == "scheduler" else b"all dask workers") in errors
    assert not names(tmp_path)


def test_without_dask_there_is_a_hint(files: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['distributed'] = None\nfrom zllm.cli.main import main\n"
        f"sys.exit(main(['create', '--dask', 'tcp://a:1', 'a.zllm', {str(files / 'code.txt')!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert result.returncode == 2 and result.stderr.count(b"\n") == 1
    assert b"pip install 'zllm[dask]'" in result.stderr and not names(tmp_path)


def test_versions_that_differ_are_named() -> None:
    ours = software()
    assert difference(dict(ours), ours) == ""
    assert difference({**ours, "zstd": "1.0.0"}, ours).startswith("it has zstd 1.0.0, this machine has")
    assert difference({}, ours).startswith("it has zllm None")


def test_parcels_have_all_frames_in_order() -> None:
    pytest.importorskip("distributed")
    from zllm.integrations.dask_ import _parts

    items = [(bytes(size), ()) for size in (5, 3, 0, 9, 30, 1, 10, 0, 2)]
    parts = _parts(items, 10)
    assert [item for part in parts for item in part] == items
    assert [[len(data) for data, _ in part] for part in parts] == [[5, 3, 0], [9], [30], [1], [10, 0], [2]]
    assert _parts([], 10) == []


def test_an_order_says_all_that_a_worker_needs() -> None:
    order = Order("zstd", {"level": 7}, dask_worker.software())
    assert dask_worker._codec(order, None).encode(b"text" * 99) == ZstdCodec(7).encode(b"text" * 99)
    with pytest.raises(dask_worker._RefusedError, match="arithmetic version"):
        dask_worker._codec(dataclasses.replace(order, software={**order.software, "arithmetic version": "0"}), None)


@pytest.mark.parametrize("codec", [ZstdCodec(7), CmCodec(), Deltas(3)], ids=lambda codec: codec.name)
def test_a_worker_makes_every_codec_by_its_settings(codec: Codec, plugin: None) -> None:
    order = pickle.loads(pickle.dumps(Order(codec.name, codec.settings(), dask_worker.software(codec.name))))
    data = bytes(range(256)) * 9
    made = dask_worker._codec(order, None)
    assert made.settings() == codec.settings() and made.encode(data) == codec.encode(data)


def test_a_codec_of_another_package_needs_the_same_version_there(plugin: None) -> None:
    ours = software("zstd")
    assert ours == software() == software("nonesuch")
    assert software("deltas") == {**ours, "the codec deltas of": "zllm-deltas 1.0"}
    assert difference(ours, software("deltas")).startswith("it has the codec deltas of None, this machine has zllm-del")


def test_a_codec_of_another_package_is_used_on_workers(zllm: Run, alone: Farm, tmp_path: Path, plugin: None) -> None:
    alone.add(1)
    (tmp_path / "times").write_bytes(counters(70_000))
    words = ["create", "--level", "4", "--stats"]
    result = zllm(*words, "--dask", alone.address, "there.zllm", "times")
    zllm(*words, "here.zllm", "times")
    assert b"\ndeltas on workers" in result.stderr
    assert (tmp_path / "there.zllm").read_bytes() == (tmp_path / "here.zllm").read_bytes()
