"""rclone: copy, sync a thousand files there and back, check, list, multipart, delete and remove."""

import pytest

import server as ringway
import trees

REMOTE = {
    "RCLONE_CONFIG_RINGWAY_TYPE": "s3",
    "RCLONE_CONFIG_RINGWAY_PROVIDER": "Other",
    "RCLONE_CONFIG_RINGWAY_REGION": ringway.REGION,
    "RCLONE_CONFIG_RINGWAY_ACCESS_KEY_ID": ringway.ACCESS_KEY,
    "RCLONE_CONFIG_RINGWAY_SECRET_ACCESS_KEY": ringway.SECRET_KEY,
}


@pytest.fixture
def rclone(program, server):
    run = program("rclone")
    environment = {**REMOTE, "RCLONE_CONFIG_RINGWAY_ENDPOINT": server.endpoint}
    return lambda *arguments: run("--quiet", "--retries", "1", *arguments, environment=environment)


def test_session(rclone, server, new_bucket_name, tmp_path):
    remote = f"ringway:{new_bucket_name}"
    sent = trees.write(tmp_path / "sent" / "b c.txt", trees.content("session", 12345))
    rclone("mkdir", remote)
    rclone("copy", sent.parent, f"{remote}/a")
    assert server.path(new_bucket_name, "a/b c.txt").read_bytes() == sent.read_bytes()
    assert rclone("lsf", remote) == "a/\n"
    assert rclone("ls", remote).split() == ["12345", "a/b", "c.txt"]
    rclone("copyto", f"{remote}/a/b c.txt", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_bytes() == sent.read_bytes()
    rclone("deletefile", f"{remote}/a/b c.txt")
    assert trees.files(server.path(new_bucket_name)) == {}
    rclone("rmdir", remote)
    assert not server.path(new_bucket_name).exists()


def test_sync_there_and_back(rclone, server, bucket, small_files, tmp_path):
    remote = f"ringway:{bucket}/copy"
    rclone("sync", "--transfers", "8", small_files, remote)
    trees.assert_same(small_files, server.path(bucket, "copy"))
    rclone("check", small_files, remote)
    rclone("check", "--download", small_files, remote)
    rclone("sync", "--transfers", "8", remote, tmp_path / "back")
    trees.assert_same(small_files, tmp_path / "back")
    assert len(rclone("lsf", "--recursive", "--files-only", remote).splitlines()) == trees.SMALL_FILES
    rclone("delete", f"ringway:{bucket}")
    assert list(server.path(bucket).iterdir()) == []


def test_large_file(rclone, server, bucket, large_file, tmp_path):
    parts = ["--s3-upload-cutoff", "8M", "--s3-chunk-size", "8M"]
    rclone("copyto", *parts, large_file, f"ringway:{bucket}/large.bin")
    assert server.path(bucket, "large.bin").read_bytes() == large_file.read_bytes()
    rclone("copyto", f"ringway:{bucket}/large.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large_file.read_bytes()
