"""s5cmd: the same work with its own signing, listing and multipart code (AWS SDK for Go v1, many connections)."""

import pytest

import trees


@pytest.fixture
def s5cmd(program):
    return program("s5cmd")


def test_session(s5cmd, server, new_bucket_name, tmp_path):
    url = f"s3://{new_bucket_name}"
    sent = trees.write(tmp_path / "sent.txt", b"a line\n" * 2000)
    s5cmd("mb", url)
    s5cmd("cp", sent, f"{url}/a/b+c.txt")
    assert server.path(new_bucket_name, "a/b+c.txt").read_bytes() == sent.read_bytes()
    assert s5cmd("cat", f"{url}/a/b+c.txt") == sent.read_text()
    assert s5cmd("ls", url).split() == ["DIR", "a/"]
    assert s5cmd("ls", f"{url}/a/").split()[2:] == ["14000", "b+c.txt"]
    assert f" {url}\n" in s5cmd("ls")
    s5cmd("rm", f"{url}/a/b+c.txt")
    assert trees.files(server.path(new_bucket_name)) == {}
    s5cmd("rb", url)
    assert not server.path(new_bucket_name).exists()


def test_sync_there_and_back(s5cmd, server, bucket, small_files, tmp_path):
    url = f"s3://{bucket}/copy"
    s5cmd("sync", f"{small_files}/", f"{url}/")
    trees.assert_same(small_files, server.path(bucket, "copy"))
    s5cmd("sync", f"{url}/*", tmp_path / "back")
    trees.assert_same(small_files, tmp_path / "back")
    assert s5cmd("sync", f"{small_files}/", f"{url}/") == ""
    assert len(s5cmd("ls", f"{url}/*").splitlines()) == trees.SMALL_FILES
    s5cmd("rm", f"s3://{bucket}/*")
    assert list(server.path(bucket).iterdir()) == []


def test_large_file(s5cmd, server, bucket, large_file, tmp_path):
    parts = ["--part-size", "8", "--concurrency", "6"]
    s5cmd("cp", *parts, large_file, f"s3://{bucket}/large.bin")
    assert server.path(bucket, "large.bin").read_bytes() == large_file.read_bytes()
    s5cmd("cp", *parts, f"s3://{bucket}/large.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large_file.read_bytes()
