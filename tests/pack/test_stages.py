"""Plan, shares in any order on any number of machines, finish: the same bytes as one pack, and no step that can be left out."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest_pack import WriteDicom, WriteSeries, shards_of
from stage_make import MASKS, everything, options_for, write_source
from test_resume import deadly_pack_shard

from radload.dataset.manifest import MANIFEST
from radload.errors import RadloadError, UsageError
from radload.pack import PackOptions, pack
from radload.pack.part import PACKING
from radload.pack.plan import ShardJob
from radload.pack.planned import read_head, read_job, read_outlines
from radload.pack.stages import Share, finish, pack_share, parse_share, plan
from radload.pack.worker import Beat, Limits

NAMES = ["jobs.arrow", "walk.arrow"]


@pytest.fixture
def source(tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom) -> Path:
    write_source(tmp_path / "src", write_series, write_dicom)
    return tmp_path / "src"


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> dict[str, str]:
    """What one pack in one process leaves."""
    pack(options_for(source, tmp_path / "whole"))
    return everything(tmp_path / "whole")


def radload(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "radload.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_local_workers_and_shares_in_any_order_leave_the_same_bytes(
    source: Path, tmp_path: Path, whole: dict[str, str]
) -> None:
    pack(options_for(source, tmp_path / "two", workers=2))
    assert everything(tmp_path / "two") == whole
    for parts in (1, 3, 7):
        out = tmp_path / f"shares{parts}"
        found = plan(options_for(source, out))
        assert found.shards == sum(name.endswith(".tar") for name in whole) > 7
        assert not shards_of(out) and not (out / MANIFEST).exists()
        assert all((out.with_name(f"{out.name}.private") / name).stat().st_mode & 0o777 == 0o600 for name in NAMES)
        shares = list(range(parts))
        random.Random(parts).shuffle(shares)
        done = [pack_share(out, None, Share(number, parts), Limits(), workers=0) for number in shares]
        assert sum(one.shards for one in done) == found.shards and not any(one.finished for one in done)
        assert sum(one.slices for one in done) == found.slices
        summary = finish(out, workers=0)
        assert summary.fresh and everything(out) == whole
        again = finish(out, workers=0)
        assert not again.fresh and again.samples == summary.samples and everything(out) == whole


def test_shares_at_the_same_time_and_twice_do_no_harm(source: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    """A task that its cluster believes dead may still be at work beside the one that replaces it."""
    out = tmp_path / "out"
    plan(options_for(source, out))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda n: pack_share(out, None, Share(n % 2, 2), Limits(), workers=1), range(4)))
    finish(out, workers=0)
    assert everything(out) == whole


def test_the_commands_from_a_shell(source: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    out, key = tmp_path / "out", tmp_path / "pseudonym.key"
    given = ["--src", source, "--out", out, "--shard-size", 0.008, "--key", key, "--labels-from", "modality"]
    said = radload("plan", *given, "--attest-no-phi", "--masks", MASKS, "--workers", 1)
    assert said.returncode == 0 and "planned: 94 slices in" in said.stdout, said
    for number in (1, 0):
        said = radload("pack", "--out", out, "--job", f"{number}/2", "--workers", 1)
        assert said.returncode == 0 and f"share {number}/2: " in said.stdout, said
    said = radload("pack", "--out", out, "--job", "0/2")
    assert said.returncode == 0 and " 0 of them written now (0 slices" in said.stdout, said
    said = radload("finish", "--out", out, "--workers", 1)
    assert said.returncode == 0 and "samples in" in said.stdout and "slices/s" not in said.stdout, said
    assert everything(out) == whole


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--job", "2/2"], "--job 2/2 is no share: give NUMBER/SHARES"),
        (["--job", "x"], "--job x is no share"),
        (["--job", "-1/3"], "--job -1/3 is no share"),
        (["--job", "0/2", "--codec", "raw"], "--codec does not go with --job"),
        (["--job", "0/2", "--src", "somewhere"], "--src does not go with --job"),
        (["--job", "0/2", "--workers", "-1"], "--workers -1 is no number"),
        (["--job", "0/2"], "holds no plan: run `radload plan`"),
        ([], "--src is missing"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    said = radload("pack", "--out", tmp_path / "out", *arguments)
    assert said.returncode == 2 and sentence in said.stderr and said.stderr.count("\n") == 1, said
    assert not list(tmp_path.iterdir())


def test_finish_waits_for_all_shards_and_says_which_are_missing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = plan(options_for(source, out))
    pack_share(out, None, Share(1, 3), Limits(), workers=0)
    missing = [number for number in range(found.shards) if number % 3 != 1]
    with pytest.raises(RadloadError, match=rf"{len(missing)} of {found.shards} shards .*number 0, 2, 3, 5, 6"):
        finish(out, workers=0)
    for number in (0, 2):
        pack_share(out, None, Share(number, 3), Limits(), workers=0)
    broken = next(iter(sorted(out.glob("train/*.tar"))))
    broken.write_bytes(broken.read_bytes()[:-512])  # a disk that lost a block
    with pytest.raises(RadloadError, match=r"1 of .* \(number 0;"):
        finish(out, workers=0)
    assert not (out / MANIFEST).exists()
    assert pack_share(out, None, Share(0, 1), Limits(), workers=0).finished == found.shards - 1
    finish(out, workers=0)


def test_finish_needs_no_source_that_stands_still(source: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    """An archive grows while a cluster packs: what was planned is what is packed."""
    out = tmp_path / "out"
    plan(options_for(source, out))
    pack_share(out, None, Share(0, 1), Limits(), workers=0)
    shutil.copytree(source / "Doe_3", source / "Doe_new")
    (source / "readme.txt").write_text("still no image")
    with pytest.raises(UsageError, match="the files under --src"):
        pack(options_for(source, out))
    finish(out, workers=0)
    assert everything(out) == whole


def test_a_pack_goes_on_with_a_plan_and_a_plan_with_a_pack(
    source: Path, tmp_path: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    plan(options_for(source, out))
    pack_share(out, None, Share(0, 2), Limits(), workers=0)
    begun = {path: path.stat().st_mtime_ns for path in out.glob("*/*.tar")}
    pack(options_for(source, out))
    assert begun and {path: path.stat().st_mtime_ns for path in begun} == begun and everything(out) == whole

    def full(job: ShardJob, beat: Beat) -> None:
        raise OSError(28, "No space left on device")

    other = tmp_path / "other"
    with monkeypatch.context() as patch:
        patch.setattr("radload.pack.flow.pack_shard", full)
        with pytest.raises(RadloadError, match="no space left"):
            pack(options_for(source, other))
        plan(options_for(source, other))
        with pytest.raises(
            RadloadError, match=r"no space left on device\): 0 of \d+ shards of this share are finished"
        ):
            pack_share(other, None, Share(0, 1), Limits(), workers=0)
    pack_share(other, None, Share(0, 1), Limits(), workers=0)
    finish(other, workers=0)
    assert everything(other) == whole
    with pytest.raises(UsageError, match="holds a data set that is finished"):
        plan(options_for(source, other))


def test_folders_and_versions_that_do_not_fit_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    plan(options_for(source, one))
    plan(PackOptions(source, two, codec="raw", workers=0, attest_no_phi=True))
    with pytest.raises(UsageError, match="holds the plan of another --out"):
        pack_share(one, tmp_path / "two.private", Share(0, 1), Limits(), workers=0)
    with pytest.raises(UsageError, match="another --out"):
        finish(one, tmp_path / "two.private", workers=0)
    monkeypatch.setattr("radload.pack.planned.version", lambda name: "0.0" if name == "imagecodecs" else "1")
    with pytest.raises(UsageError, match=r"other versions \(.*imagecodecs 0.0 here, \S+ there"):
        pack_share(one, None, Share(0, 1), Limits(), workers=0)
    monkeypatch.undo()
    path = tmp_path / "one.private/jobs.arrow"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=r"jobs.arrow cannot be read here .damaged"):
        pack_share(one, None, Share(0, 1), Limits(), workers=0)
    (tmp_path / "one.private/jobs.arrow").unlink()
    with pytest.raises(UsageError, match="holds no plan: run `radload plan`"):
        finish(one, workers=0)


def test_every_job_comes_back_as_it_was_planned(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that JSON would lose changes what is packed without changing the digest."""
    kept: list[ShardJob] = []

    def keep(private: Path, identity: str, options: PackOptions, files: object, jobs: tuple[ShardJob, ...]) -> None:
        kept.extend(jobs)
        write(private, identity, options, files, jobs)  # type: ignore[arg-type]

    from radload.pack.planned import write_planned as write

    monkeypatch.setattr("radload.pack.stages.write_planned", keep)
    plan(options_for(source, tmp_path / "out"))
    private = tmp_path / "out.private"
    assert [read_job(private, number) for number in range(read_head(private).jobs)] == kept
    assert [one.digest for one in read_outlines(private)] == [job.digest for job in kept]
    files = [file for job in kept for one in job.series for file in one.files]
    assert sum(file.mask is not None for file in files) == 1
    assert any("\udcfc" in file.header.source for file in files)


def test_a_broken_file_costs_itself_in_a_share(
    tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radload.pack.flow.pack_shard", deadly_pack_shard)
    for number in range(3):
        write_series(tmp_path / f"src/{number}", series=f"s{number}")
    write_dicom(tmp_path / "src/1/killer.dcm", series="s1", place=7)
    write_dicom(tmp_path / "src/2/stopped.dcm", series="s2", place=8)
    options = PackOptions(tmp_path / "src", tmp_path / "out", shard_size=0.001, workers=0)
    plan(options)
    pack_share(tmp_path / "out", None, Share(0, 1), Limits(timeout=5), workers=2)
    summary = finish(tmp_path / "out", workers=0)
    assert (summary.samples, summary.rejected) == (9, {"decoder-crashed": 1, "timeout": 1})


def test_a_share_that_is_killed_goes_on(source: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    out = tmp_path / "out"
    plan(options_for(source, out))
    command = [sys.executable, "-m", "radload.cli", "pack", "--out", str(out), "--job", "0/1", "--workers", "1"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = out / PACKING / "parts"
    while len(list(parts.glob("*.arrow"))) < 2 and process.poll() is None:
        pass
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (out / "train/.000000.tar.77-0011aabb.tmp").write_bytes(b"begun")
    assert pack_share(out, None, Share(0, 1), Limits(), workers=0).finished >= 2
    finish(out, workers=0)
    assert everything(out) == whole and not list(out.rglob("*.tmp"))


def test_while_shares_are_packed_nobody_plans_or_finishes(source: Path, tmp_path: Path) -> None:
    from radload.pack.workspace import lock_folder

    out = tmp_path / "out"
    plan(options_for(source, out))
    lock = lock_folder(out, shared=True)  # what a share holds
    for step in (lambda: plan(options_for(source, out)), lambda: pack(options_for(source, out))):
        with pytest.raises(UsageError, match="another radload pack is writing"):
            step()
    pack_share(out, None, Share(0, 1), Limits(), workers=0)
    with pytest.raises(UsageError, match="another radload pack is writing"):
        finish(out, workers=0)
    os.close(lock)
    finish(out, workers=0)


def test_shares() -> None:
    assert parse_share("0/1") == Share(0, 1) and parse_share("15/16") == Share(15, 16)


def test_the_plan_holds_no_key(source: Path, tmp_path: Path) -> None:
    plan(options_for(source, tmp_path / "out"))
    private = tmp_path / "out.private"
    texts = [(private / name).read_bytes() for name in NAMES]
    texts += [json.dumps([repr(read_job(private, n)) for n in range(read_head(private).jobs)]).encode()]
    assert not any(b"5e" * 32 in text or bytes.fromhex("5e" * 32) in text for text in texts)
