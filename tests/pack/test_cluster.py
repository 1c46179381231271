"""A pack on a Dask cluster: the bytes of a local one, whoever dies on the way; and what crosses the network names nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cluster_make import HANGS, KILLS, Cluster, Proxy, children, cluster
from conftest_pack import WriteDicom, WriteSeries
from ports import free_port
from stage_make import KEY, SHARD, everything, options_for, write_source

from radload.dataset.manifest import MANIFEST
from radload.errors import RadloadError, UsageError
from radload.pack import PackOptions, PackSummary, pack
from radload.pack.part import PACKING

distributed = pytest.importorskip("distributed")


@pytest.fixture
def source(tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom) -> Path:
    write_source(tmp_path / "src", write_series, write_dicom)
    return tmp_path / "src"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two workers."""
    with cluster(tmp_path_factory.mktemp("cluster") / "two") as running:
        yield running


class InBackground:
    """A pack in a thread of this process."""

    def __init__(self, options: PackOptions) -> None:
        self.summary: PackSummary | None = None
        self.error: Exception | None = None
        self._options = options
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.summary = pack(self._options)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def wait_for_parts(self, count: int) -> None:
        parts = self._options.out / PACKING / "parts"
        end = time.monotonic() + 120
        while len(list(parts.glob("*.arrow"))) < count:
            assert self.error is None and self.summary is None and time.monotonic() < end, self.error
            time.sleep(0.01)

    def join(self) -> None:
        self._thread.join(240)
        assert not self._thread.is_alive()


def test_the_bytes_are_those_of_a_local_pack(source: Path, tmp_path: Path, two: Cluster) -> None:
    local = pack(options_for(source, tmp_path / "local"))
    spread = pack(replace(options_for(source, tmp_path / "spread"), scheduler=two.address))
    assert everything(tmp_path / "spread") == everything(tmp_path / "local")
    assert (spread.samples, spread.slices, spread.rejected) == (local.samples, local.slices, local.rejected)
    again = pack(replace(options_for(source, tmp_path / "spread"), scheduler=two.address))
    assert not again.fresh


def test_threads_of_a_worker_pack_beside_each_other(source: Path, tmp_path: Path) -> None:
    pack(options_for(source, tmp_path / "local"))
    with cluster(tmp_path / "cluster", workers=1, threads=3) as running:
        pack(replace(options_for(source, tmp_path / "spread"), scheduler=running.address))
    assert everything(tmp_path / "spread") == everything(tmp_path / "local")


def test_neither_key_nor_patient_nor_file_crosses_the_network(source: Path, tmp_path: Path, two: Cluster) -> None:
    import dask

    proxy = Proxy(int(two.address.rpartition(":")[2]))
    options = replace(options_for(source, tmp_path / "out"), scheduler=f"tcp://127.0.0.1:{proxy.own_port}")
    with dask.config.set({"distributed.comm.compression": None}):
        assert pack(options).samples > 80
    heard = bytes(proxy.heard)
    proxy.close()
    assert str(tmp_path / "out.private").encode() in heard and b"train-000001" in heard, "the proxy heard nothing"
    for word in (KEY, "5E5E5E5E", "Doe_", "Name^", "plain.dcm", "P13", str(source)):
        assert word.encode() not in heard, word
    assert bytes.fromhex(KEY) not in heard


def test_a_broken_file_costs_itself_and_no_worker(
    tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom, two: Cluster
) -> None:
    for number in range(4):
        write_series(tmp_path / f"src/{number}", series=f"s{number}", patient=f"P{number}")
    for name, value in (("1/killer.dcm", KILLS), ("2/sleeper.dcm", HANGS)):
        pixels = np.full((24, 20), value, np.int16)
        write_dicom(tmp_path / "src" / name, pixels, series=f"s{name[0]}", patient=f"P{name[0]}", place=7)
    with distributed.Client(two.address, set_as_default=False) as client:
        before = client.run(os.getpid)
        options = PackOptions(
            tmp_path / "src",
            tmp_path / "out",
            shard_size=0.001,
            workers=1,
            timeout=3,
            transform="cluster_make:deadly",
            scheduler=two.address,
        )
        summary = pack(options)
        assert client.run(os.getpid) == before, "a Dask worker died"
    assert (summary.samples, summary.rejected) == (12, {"decoder-crashed": 1, "timeout": 1})


def test_a_worker_that_dies_is_replaced(source: Path, tmp_path: Path) -> None:
    slow = {"transform": "cluster_make:slow"}
    pack(replace(options_for(source, tmp_path / "local", 2), **slow))
    with cluster(tmp_path / "cluster") as running:
        run = InBackground(replace(options_for(source, tmp_path / "spread"), scheduler=running.address, **slow))
        run.wait_for_parts(2)
        with distributed.Client(running.address, set_as_default=False) as client:
            victims = list(client.run(os.getpid).values())
        packing = children(victims[0])
        os.kill(victims[0], signal.SIGKILL)  # its nanny starts another
        os.killpg(running.workers[1].pid, signal.SIGKILL)  # a node that is gone, nanny and all
        run.join()
        assert run.error is None, run.error
        assert packing and not any(Path(f"/proc/{process}/exe").exists() for process in packing), "orphans"
    assert everything(tmp_path / "spread") == everything(tmp_path / "local")


def test_workers_that_die_over_one_shard_are_said(
    tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom
) -> None:
    write_series(tmp_path / "src/a", patient="P1")
    write_dicom(tmp_path / "src/b.dcm", np.full((24, 20), KILLS, np.int16), patient="P2", series="b")
    options = PackOptions(tmp_path / "src", tmp_path / "out", shard_size=0.001, transform="cluster_make:murderous")
    few = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    words = r"died 2 times while writing one shard .*: \d of 2 shards are finished"
    with cluster(tmp_path / "cluster", environment=few) as running, pytest.raises(RadloadError, match=words):
        pack(replace(options, scheduler=running.address))


def test_workers_without_radload_are_said(source: Path, tmp_path: Path) -> None:
    words = "a worker of .* cannot load the task .*radload.*: install the same radload"
    shadow = without_radload(tmp_path)
    with (
        cluster(tmp_path / "cluster", workers=1, environment=shadow, of="worker") as running,
        pytest.raises(UsageError, match=words),
    ):
        pack(replace(options_for(source, tmp_path / "out"), scheduler=running.address))


def test_a_scheduler_needs_no_radload(source: Path, tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster", workers=1, environment=without_radload(tmp_path), of="scheduler") as running:
        assert pack(replace(options_for(source, tmp_path / "out"), scheduler=running.address)).samples > 80


def test_workers_that_do_not_come_are_said(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radload.pack.cluster._WITHOUT_WORKERS", 1.0)
    monkeypatch.setattr("radload.pack.cluster._COUNT", 0.2)
    words = r"no worker has been at tcp://\S+ for .* hours: start some, .*; 0 of \d+ shards are finished; run the same"
    with cluster(tmp_path / "cluster", workers=0) as running, pytest.raises(RadloadError, match=words):
        pack(replace(options_for(source, tmp_path / "out"), scheduler=running.address))


def without_radload(folder: Path) -> dict[str, str]:
    """The environment of a process that cannot import radload, as if it was not installed."""
    (folder / "shadow").mkdir()
    (folder / "shadow/sitecustomize.py").write_text("import sys\nsys.modules['radload'] = None\n")
    return {"PYTHONPATH": str(folder / "shadow")}


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job would hand down that it is ignored


def test_ctrl_c_says_how_to_go_on(source: Path, tmp_path: Path, two: Cluster) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for attempt in range(5):  # a busy machine may let this process sleep until the pack is through
        out = tmp_path / f"out{attempt}"
        command = [sys.executable, "-m", "radload.cli", "pack", "--src", source, "--out", out, "--shard-size", SHARD]
        command += ["--transform", "cluster_make:slow", "--scheduler", two.address]
        process = subprocess.Popen(
            list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=_listen
        )
        while len(list(out.glob(f"{PACKING}/parts/*.arrow"))) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
        if process.returncode != 0:
            break
    assert process.returncode == 130, said
    assert "shards are finished; run the same command again to go on" in said and said.count("\n") == 1, said


def test_a_scheduler_that_is_gone_is_said_and_the_pack_goes_on_elsewhere(source: Path, tmp_path: Path) -> None:
    slow = {"transform": "cluster_make:slow"}
    options = replace(options_for(source, tmp_path / "out", 2), **slow)
    with cluster(tmp_path / "cluster") as running:
        run = InBackground(replace(options, scheduler=running.address))
        run.wait_for_parts(1)
        os.killpg(running.scheduler.pid, signal.SIGKILL)
        run.join()
    assert isinstance(run.error, RadloadError) and "is gone: " in str(run.error), run.error
    assert "shards are finished; run the same command again to go on" in str(run.error)
    assert not (tmp_path / "out" / MANIFEST).exists()
    pack(options)
    pack(replace(options, out=tmp_path / "local"))
    assert everything(tmp_path / "out") == everything(tmp_path / "local")


def test_a_disk_that_is_full_on_a_worker_is_said(source: Path, tmp_path: Path, two: Cluster) -> None:
    blocked = tmp_path / "out"
    options = replace(options_for(source, blocked), scheduler=two.address)

    def block(client: distributed.Client) -> None:
        client.wait_for_workers(2)  # one that comes later would have room
        client.run(_fill_disks)

    with distributed.Client(two.address, set_as_default=False) as client:
        block(client)
        try:
            with pytest.raises(RadloadError, match=r"no space left on device\): 0 of \d+ shards are finished; run the"):
                pack(options)
        finally:
            client.run(_empty_disks)
    assert pack(options).samples > 80


def _fill_disks() -> None:
    """In a worker: from here on nothing can be written."""
    import radload.pack.cluster as module

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    module.kept_run_shards = module.run_shards  # type: ignore[attr-defined]
    module.run_shards = full  # type: ignore[assignment]


def _empty_disks() -> None:
    import radload.pack.cluster as module

    module.run_shards = module.kept_run_shards  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two self-signed ones, and their keys: our own, and somebody else's."""
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("tls")
    for whose in ("own", "other"):
        made = distributed.Security.temporary()
        (folder / f"{whose}.ca").write_text(made.tls_ca_file)
        (folder / f"{whose}.cert").write_text(made.tls_client_cert)
        (folder / f"{whose}.key").write_text(made.tls_client_key)
    return {path.name: path for path in folder.iterdir()}


def test_tls_lets_in_who_has_a_certificate_and_nobody_else(
    source: Path, tmp_path: Path, certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(options_for(source, tmp_path / "local"))
    given = [("--tls-ca-file", "own.ca"), ("--tls-cert", "own.cert"), ("--tls-key", "own.key")]
    arguments = [text for option, name in given for text in (option, str(certificates[name]))]
    with cluster(tmp_path / "cluster", tls=arguments) as running:
        proxy = Proxy(int(running.address.rpartition(":")[2]))
        options = replace(
            options_for(source, tmp_path / "spread"),
            scheduler=f"tls://127.0.0.1:{proxy.own_port}",
            tls_ca_file=certificates["own.ca"],
            tls_cert=certificates["own.cert"],
            tls_key=certificates["own.key"],
        )
        pack(options)
        heard = bytes(proxy.heard)
        proxy.close()
        assert len(heard) > 10_000 and b"spread" not in heard and b"train-" not in heard, "in the clear"
        monkeypatch.setattr("radload.pack.cluster._CONNECT", 3)
        strangers = (
            replace(options, tls_cert=certificates["other.cert"], tls_key=certificates["other.key"]),
            replace(
                options, scheduler=running.address.replace("tls", "tcp"), tls_ca_file=None, tls_cert=None, tls_key=None
            ),
        )
        for number, stranger in enumerate(strangers):
            with pytest.raises(UsageError, match="does not answer"):
                pack(replace(stranger, out=tmp_path / f"stranger{number}", scheduler=stranger.scheduler))
    assert everything(tmp_path / "spread") == everything(tmp_path / "local")


def test_a_scheduler_that_does_not_answer_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radload.pack.cluster._CONNECT", 1)
    with pytest.raises(UsageError, match="does not answer"):
        pack(replace(options_for(source, tmp_path / "out"), scheduler=f"tcp://127.0.0.1:{free_port()}"))
    assert not list(tmp_path.glob("out*")), "before anything is scanned or written"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scheduler": "localhost:8786"}, "--scheduler localhost:8786 is no address"),
        ({"scheduler": "tls://localhost:8786"}, "needs --tls-ca-file"),
        ({"tls_key": Path("key.pem")}, "--tls-key is for --scheduler tls://"),
        ({"scheduler": "tcp://localhost:8786", "tls_cert": Path("a.pem")}, "--tls-cert is for --scheduler tls://"),
    ],
)
def test_options_that_cannot_be_used_are_refused(tmp_path: Path, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        pack(replace(PackOptions(tmp_path / "src", tmp_path / "out"), **options))  # type: ignore[arg-type]
