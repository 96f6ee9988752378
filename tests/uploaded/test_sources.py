from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evenhand.errors import InputError
from evenhand.studies.uploaded import sources
from evenhand.studies.uploaded.sources import Budget, SourceError, allowed_folder, files_of_folder, unpack
from tests.helpers.archives import without_name
from tests.helpers.pictures import picture, written, zipped


def _tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_archives_are_unpacked_under_numbers(tmp_path: Path, ending: str) -> None:
    files = {"a/1.png": picture(1), "a/2.png": picture(2), "__MACOSX/a/._1.png": b"x", ".DS_Store": b"x"}
    path = tmp_path / f"pictures.{ending}"
    if ending == "zip":
        path.write_bytes(zipped(files))
    else:
        mode = f"w:{ending[4:]}" if ending != "tar" else "w"
        _tar(path, [(_member(name), data) for name, data in files.items()], mode)
    found = unpack(path, tmp_path / "out")
    assert {each.name: each.path.read_bytes() for each in found.files} == {n: files[n] for n in ("a/1.png", "a/2.png")}
    assert found.hidden == 2
    assert all(each.path.name.isdecimal() and each.path.parent == tmp_path / "out" for each in found.files)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "C:\\a.png", "a/../../b.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_stops_the_archive(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        path.write_bytes(zipped({"good.png": picture(1), name: picture(2)}))
    else:
        _tar(path, [(_member("good.png"), picture(1)), (_member(name), picture(2))])
    with pytest.raises(SourceError, match=r"nothing of the archive is taken"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "a.png").exists()
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_link_or_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = _tar(tmp_path / "a.tar", [(_member("a.png", kind, "/etc/passwd"), b"")])
    with pytest.raises(SourceError, match="is a link or a device"):
        unpack(path, tmp_path / "out")


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("a.png")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(SourceError, match="is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", picture(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", picture(2))
    with pytest.raises(SourceError, match="two files of one name"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 20_000_000)
    with pytest.raises(SourceError, match=r"would unpack [\d,]+ bytes to 20,000,000"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    _tar(tmp_path / "b.tar.gz", [(_member("a.png"), b"\0" * 3_000_000)], "w:gz")
    with pytest.raises(SourceError, match=r"b\.tar\.gz: unpacks to more bytes than are read"):
        unpack(tmp_path / "b.tar.gz", tmp_path / "out", Budget("b.tar.gz", bytes=2_000_000))
    (tmp_path / "c.zip").write_bytes(zipped({f"{n}.png": b"" for n in range(11)}))
    with pytest.raises(SourceError, match="holds more files than are read"):
        unpack(tmp_path / "c.zip", tmp_path / "out", Budget("c.zip", files=10))


def test_a_tar_header_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    header = _member("x", tarfile.XHDTYPE)
    header.size = 2**31
    with gzip.open(tmp_path / "a.tar.gz", "wb") as archive:
        archive.write(header.tobuf(tarfile.USTAR_FORMAT))
        archive.write(b"\0" * 1024)
    with pytest.raises(SourceError, match="has a header of"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": b"x" * 5000}))
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(SourceError):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    at=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.integers(0, 2000), kind=st.sampled_from(["zip", "tgz"])
)
def test_a_damaged_archive_is_refused_or_read(tmp_path: Path, at: int, byte: int, cut: int, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        path.write_bytes(zipped({"a/1.png": picture(1, (8, 8)), "b/1.png": picture(2, (8, 8))}))
    else:
        _tar(path, [(_member("a/1.png"), picture(1, (8, 8)))], "w:gz")
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(bytes(data[: max(1, len(data) - cut % 40)]))
    with suppress(InputError):  # another error would be a fault of the program
        unpack(path, tmp_path / "out")


def test_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(without_name(zipped({"a": picture(1)})))
    with pytest.raises(SourceError, match="holds a file without a name"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": picture(1)}))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        place = data.index(mark) + (6 if mark == b"PK\x03\x04" else 8)
        data[place] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(SourceError, match="is encrypted"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_folders_do_not_follow_links(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside", {"secret.png": picture(1)})
    folder = written(tmp_path / "folder", {"a/1.png": picture(2), ".hidden.png": b""})
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "a" / "others").symlink_to(outside)
    found = files_of_folder(folder)
    assert [each.name for each in found.files] == ["a/1.png"]
    assert set(found.refused) == {"link.png", "a/others"}
    assert found.hidden == 1


def test_only_folders_below_the_roots_are_allowed(tmp_path: Path, settings: Any) -> None:
    inside = tmp_path / "roots" / "pictures"
    inside.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "roots" / "link").symlink_to(tmp_path / "other")
    settings.IMPORT_ROOTS = []
    with pytest.raises(SourceError, match="names none"):
        allowed_folder(str(inside))
    settings.IMPORT_ROOTS = [str(tmp_path / "roots")]
    assert allowed_folder(str(inside)) == inside
    for bad in ("/etc", f"{inside}/../../other", str(tmp_path / "roots" / "link"), f"{inside}\0", "pictures"):
        with pytest.raises(SourceError):
            allowed_folder(bad)


def test_large_files_are_passed_over_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FILE_LIMIT", 10)
    folder = written(tmp_path, {"a.png": b"x" * 11, "b.png": b"x"})
    found = files_of_folder(folder)
    assert [each.name for each in found.files] == ["b.png"]
    assert "11 bytes" in found.refused["a.png"]
