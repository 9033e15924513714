"""AWS CLI: make a bucket, copy, list, sync a thousand files there and back, multipart, remove everything."""

import pytest

import trees


@pytest.fixture
def aws(program):
    return program("aws")


def test_session(aws, server, new_bucket_name, tmp_path):
    url = f"s3://{new_bucket_name}"
    sent = trees.write(tmp_path / "sent.txt", trees.content("session", 12345))
    assert aws("s3", "mb", url) == f"make_bucket: {new_bucket_name}\n"
    aws("s3", "cp", sent, f"{url}/a/b c.txt")
    assert server.path(new_bucket_name, "a/b c.txt").read_bytes() == sent.read_bytes()
    aws("s3", "cp", f"{url}/a/b c.txt", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_bytes() == sent.read_bytes()
    assert aws("s3", "ls", url).split() == ["PRE", "a/"]
    assert aws("s3", "ls", "--recursive", url).split()[2:] == ["12345", "a/b", "c.txt"]
    assert f" {new_bucket_name}\n" in aws("s3", "ls")
    aws("s3", "rm", f"{url}/a/b c.txt")
    assert trees.files(server.path(new_bucket_name)) == {}
    aws("s3", "rb", url)
    assert not server.path(new_bucket_name).exists()


def test_sync_there_and_back(aws, server, bucket, small_files, tmp_path):
    url = f"s3://{bucket}"
    aws("s3", "sync", "--only-show-errors", small_files, f"{url}/copy")
    trees.assert_same(small_files, server.path(bucket, "copy"))
    aws("s3", "sync", "--only-show-errors", f"{url}/copy", tmp_path / "back")
    trees.assert_same(small_files, tmp_path / "back")
    # Sizes and times agree: nothing is left to send in either direction.
    assert aws("s3", "sync", small_files, f"{url}/copy") == ""
    assert aws("s3", "sync", f"{url}/copy", tmp_path / "back") == ""
    assert len(aws("s3", "ls", "--recursive", url).splitlines()) == trees.SMALL_FILES
    aws("s3", "rm", "--recursive", "--only-show-errors", url)
    assert list(server.path(bucket).iterdir()) == []


def test_large_file(aws, server, bucket, large_file, tmp_path):
    aws("s3", "cp", "--only-show-errors", large_file, f"s3://{bucket}/large.bin")
    assert server.path(bucket, "large.bin").read_bytes() == large_file.read_bytes()
    aws("s3", "cp", "--only-show-errors", f"s3://{bucket}/large.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large_file.read_bytes()


def test_stream(aws, server, bucket, tmp_path):
    aws("s3", "cp", trees.write(tmp_path / "sent", b"streamed\n"), f"s3://{bucket}/key")
    assert aws("s3", "cp", f"s3://{bucket}/key", "-") == "streamed\n"
    assert server.path(bucket, "key").read_bytes() == b"streamed\n"
