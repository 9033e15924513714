"""A directory that takes `A` and `a` for the same name is no bucket: two keys would be one file."""

import subprocess

import botocore.exceptions
import pytest

import mounts
from conftest import client, skip_without, started


@pytest.fixture
def folding(tmp_path):
    """The mount point of an ext4 that can fold case."""
    skip_without("ext4", "threads")
    image, point = tmp_path / "image", tmp_path / "mnt"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    made = subprocess.run(
        [mounts.tool("mkfs.ext4"), "-q", "-F", "-O", "casefold", image], capture_output=True, text=True, timeout=60
    )
    if made.returncode != 0:
        pytest.skip(f"mkfs.ext4 knows no casefold: {made.stderr.strip()}")
    point.mkdir()
    mounted = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, timeout=60)
    if mounted.returncode != 0:
        pytest.skip(f"the kernel mounts no ext4 with casefold: {mounted.stderr.strip()}")
    try:
        yield point
    finally:
        mounts.unmount(point)


def test_a_bucket_that_folds_case_is_refused(folding, tmp_path):
    root = folding / "root"
    for bucket in ["folds", "keeps"]:
        (root / bucket).mkdir(parents=True)
    mounts.run("chattr", "+F", root / "folds")
    (root / "folds" / "Key").write_bytes(b"by a POSIX user")
    with started(root, "threads", tmp_path / "log") as server:
        s3 = client(server)
        s3.put_object(Bucket="keeps", Key="Key", Body=b"1")
        s3.put_object(Bucket="keeps", Key="key", Body=b"2")
        for _ in range(2):
            for operation, arguments in [
                (s3.put_object, {"Key": "key", "Body": b"lost"}),
                (s3.get_object, {"Key": "key"}),
                (s3.list_objects_v2, {}),
            ]:
                with pytest.raises(botocore.exceptions.ClientError) as caught:
                    operation(Bucket="folds", **arguments)
                assert caught.value.response["Error"]["Code"] == "NotImplemented"
        log = server.log.read_text()
        assert log.count("folds the case of names") == 1, log
    assert [entry.read_bytes() for entry in (root / "folds").iterdir()] == [b"by a POSIX user"]
