"""What S3 clients write is a plain file on every filesystem, and what they are told about it is true there."""

import platform
import re

import botocore.exceptions
import pytest

import mounts
import trees

ALL = "unnamed files yes, O_DIRECT yes, reserving yes, attributes yes, exclusive rename yes, directory fsync yes"
PROBED = {
    "ext4": f"ext4: {ALL}",
    "xfs": f"xfs: {ALL}",
    "btrfs": "btrfs: "
    "unnamed files yes, O_DIRECT no, reserving no, attributes yes, exclusive rename yes, directory fsync yes",
    "tmpfs": "tmpfs: "
    "unnamed files yes, O_DIRECT no, reserving yes, attributes yes, exclusive rename yes, directory fsync yes",
    "fuse": "filesystem 0x65735546: unnamed files no, O_DIRECT no, reserving yes, attributes yes, ",
}
LARGE_BYTES = 70 * (1 << 20) + 4097


@pytest.fixture(autouse=True)
def nothing_temporary_stays(served):
    yield
    mounts.wait_until(lambda: not mounts.temporary_names(served.root), "temporary names are gone")


def read(s3, bucket, key, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def refused(operation, code, status, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        operation(**arguments)
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_the_probe_says_what_the_mount_can_do(served, kind):
    log = re.sub(r"\x1b\[[0-9;]*m", "", served.log.read_text())
    assert PROBED[kind] in log, log
    assert "locks yes" in log, log
    release = [int(number) for number in re.findall("[0-9]+", platform.release())[:2]]
    is_fine = kind != "fuse" and release >= [6, 13]
    assert f"fine timestamps {'yes' if is_fine else 'no'}" in log, log


def test_an_object_is_a_file(served, s3, bucket):
    body = trees.content("an object", 100_001)
    metadata = {"colour": "green", "long": "x" * 1500}
    s3.put_object(Bucket=bucket, Key="a/b/c", Body=body, ContentType="text/x-test", Metadata=metadata)
    assert served.path(bucket, "a/b/c").read_bytes() == body
    head = s3.head_object(Bucket=bucket, Key="a/b/c")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (len(body), "text/x-test", metadata)
    assert read(s3, bucket, "a/b/c") == body


def test_metadata_that_an_attribute_may_not_hold(s3, bucket):
    described = {"Metadata": {"quotes": '"' * 2042}, "ContentDisposition": "x" * 5000}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", **described)["UploadId"]
    about = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    part = s3.upload_part(**about, PartNumber=1, Body=b"bytes")["ETag"]
    s3.complete_multipart_upload(**about, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    s3.put_object(Bucket=bucket, Key="key", Body=b"bytes", **described)
    for key in ["parts", "key"]:
        head = s3.head_object(Bucket=bucket, Key=key)
        assert {name: head[name] for name in described} == described
        assert read(s3, bucket, key) == b"bytes"


def test_a_reader_keeps_the_old_bytes_of_an_overwritten_object(served, s3, bucket):
    old, new = trees.content("old", 3 << 20), trees.content("new", 2 << 20)
    s3.put_object(Bucket=bucket, Key="key", Body=old)
    with served.path(bucket, "key").open("rb") as before:
        s3.put_object(Bucket=bucket, Key="key", Body=new)
        assert before.read() == old
    assert served.path(bucket, "key").read_bytes() == read(s3, bucket, "key") == new


def test_listing_and_delete(served, s3, bucket):
    keys = sorted(f"{folder}/{number}" for folder in ["a", "a/b", "z"] for number in range(40))
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 17})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
    for key in keys[:50]:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys[50:]]})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert list(served.path(bucket).glob("[az]*")) == []


def test_ranges_and_conditions(s3, bucket):
    body = trees.content("ranges", 300_000)
    etag = s3.put_object(Bucket=bucket, Key="key", Body=body, IfNoneMatch="*")["ETag"]
    for given, want in [("bytes=0-0", body[:1]), ("bytes=4095-8192", body[4095:8193]), ("bytes=-7", body[-7:])]:
        assert read(s3, bucket, "key", Range=given) == want
    refused(s3.get_object, "InvalidRange", 416, Bucket=bucket, Key="key", Range="bytes=300000-")
    refused(s3.get_object, "304", 304, Bucket=bucket, Key="key", IfNoneMatch=etag)
    refused(s3.put_object, "PreconditionFailed", 412, Bucket=bucket, Key="key", Body=b"x", IfNoneMatch="*")
    refused(s3.put_object, "PreconditionFailed", 412, Bucket=bucket, Key="key", Body=b"x", IfMatch='"0"')
    assert read(s3, bucket, "key", IfMatch=etag) == body
    s3.put_object(Bucket=bucket, Key="key", Body=b"second", IfMatch=etag)
    assert read(s3, bucket, "key") == b"second"


def test_a_large_body(served, s3, bucket):
    body = trees.content("large", LARGE_BYTES)
    for part in [body, body[:-1]]:
        s3.put_object(Bucket=bucket, Key="large", Body=part)
        assert served.path(bucket, "large").read_bytes() == part
        assert read(s3, bucket, "large") == part
        assert read(s3, bucket, "large", Range="bytes=66666666-") == part[66666666:]
    s3.delete_object(Bucket=bucket, Key="large")


def test_a_multipart_upload(served, s3, bucket):
    body = trees.content("parts", (12 << 20) + 5)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m/parts")["UploadId"]
    about = {"Bucket": bucket, "Key": "m/parts", "UploadId": upload}
    pieces = [body[start : start + (5 << 20)] for start in range(0, len(body), 5 << 20)]
    sent = [s3.upload_part(**about, PartNumber=number, Body=piece) for number, piece in enumerate(pieces, 1)]
    parts = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(sent, 1)]
    s3.complete_multipart_upload(**about, MultipartUpload={"Parts": parts})
    assert served.path(bucket, "m/parts").read_bytes() == read(s3, bucket, "m/parts") == body


def test_a_directory_object(served, s3, bucket):
    s3.put_object(Bucket=bucket, Key="d/", Body=b"", Metadata={"mark": "yes"})
    assert served.path(bucket, "d").is_dir()
    assert s3.head_object(Bucket=bucket, Key="d/")["Metadata"] == {"mark": "yes"}
    s3.delete_object(Bucket=bucket, Key="d/")
    assert not served.path(bucket, "d").exists()
