"""Buckets that are subvolumes of btrfs: a snapshot of one is another bucket, and what happens to it is nobody else's matter."""

import subprocess

import pytest

import mounts
from conftest import client, skip_without, started

PART_BYTES = 5 << 20


@pytest.fixture
def point(tmp_path, engine):
    skip_without("btrfs", engine)
    if mounts.tool("btrfs") is None:
        pytest.skip("btrfs is not installed")
    with mounts.mounted("btrfs", tmp_path / "disk") as point:
        yield point


def test_a_deleted_snapshot_leaves_the_uploads_of_its_origin(point, tmp_path, engine):
    root = point / "root"
    root.mkdir()
    origin, snapshot = root / "origin", root / "snapshot"
    mounts.run("btrfs", "-q", "subvolume", "create", origin)
    with started(root, engine, tmp_path / "log") as server:
        s3 = client(server)
        s3.put_object(Bucket="origin", Key="kept", Body=b"1")
        upload = s3.create_multipart_upload(Bucket="origin", Key="large")["UploadId"]
        named = {"Bucket": "origin", "Key": "large", "UploadId": upload}
        body = bytes(range(256)) * (PART_BYTES // 256)
        etag = s3.upload_part(**named, PartNumber=1, Body=body)["ETag"]
        subprocess.run(["sync", "-f", root], check=True, timeout=60)
        mounts.run("btrfs", "-q", "subvolume", "snapshot", origin, snapshot)
        assert s3.get_object(Bucket="snapshot", Key="kept")["Body"].read() == b"1"
        s3.delete_object(Bucket="snapshot", Key="kept")
        s3.delete_bucket(Bucket="snapshot")
        assert not snapshot.exists()
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert (origin / "large").read_bytes() == body
    assert (origin / "kept").read_bytes() == b"1"
