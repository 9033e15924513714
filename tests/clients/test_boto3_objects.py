"""boto3 and single objects: put, get, head, delete, conditions, checksums, presigned URLs, addressing, refusals."""

import base64
import hashlib
import urllib.error
import urllib.request
import zlib

import awscrt.checksums
import pytest
from botocore.exceptions import ClientError

import server as ringway
import trees

KEY = "a/b c/grüße+100%&=.bin"

CHECKSUMS = {
    "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "CRC32C": lambda body: awscrt.checksums.crc32c(body).to_bytes(4, "big"),
    "CRC64NVME": lambda body: awscrt.checksums.crc64nvme(body).to_bytes(8, "big"),
    "SHA1": lambda body: hashlib.sha1(body).digest(),
    "SHA256": lambda body: hashlib.sha256(body).digest(),
}


def check_refused(code, status, call, **arguments):
    """The call fails with just this S3 code and HTTP status."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def read(s3, bucket, key=KEY, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65537, trees.MIB, 3 * trees.MIB + 5])
def test_put_get_head_and_the_file_are_the_same_bytes(s3, server, bucket, size):
    body = trees.content(size, size)
    etag = s3.put_object(Bucket=bucket, Key=KEY, Body=body)["ETag"]
    assert etag == f'"{hashlib.md5(body).hexdigest()}"'
    assert server.path(bucket, KEY).read_bytes() == body
    assert read(s3, bucket) == body
    head = s3.head_object(Bucket=bucket, Key=KEY)
    assert (head["ContentLength"], head["ETag"]) == (size, etag)


@pytest.mark.parametrize(
    "asked, first, end",
    [
        ("0-0", 0, 1),
        ("100-4999", 100, 5000),
        ("69000-", 69000, 70000),
        ("-7", 69993, 70000),
        ("0-999999", 0, 70000),
    ],
)
def test_range(s3, bucket, asked, first, end):
    body = trees.content("range", 70000)
    s3.put_object(Bucket=bucket, Key=KEY, Body=body)
    answer = s3.get_object(Bucket=bucket, Key=KEY, Range=f"bytes={asked}")
    assert answer["Body"].read() == body[first:end]
    assert answer["ContentRange"] == f"bytes {first}-{end - 1}/70000"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_range_beyond_the_end(s3, bucket):
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"ten bytes.")
    check_refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key=KEY, Range="bytes=10-")


def test_headers_and_metadata_come_back(s3, bucket):
    stored = {
        "ContentType": "text/x-odd; charset=utf-8",
        "CacheControl": "max-age=7",
        "ContentDisposition": 'attachment; filename="a b.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"colour": "blue", "long": "x" * 1000},
    }
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"body", **stored)
    for answer in (s3.head_object(Bucket=bucket, Key=KEY), s3.get_object(Bucket=bucket, Key=KEY)):
        assert {name: answer[name] for name in stored} == stored
    assert s3.get_object(Bucket=bucket, Key=KEY, ResponseContentType="a/b")["ContentType"] == "a/b"


def test_content_type_of_an_object_without_one(s3, bucket):
    s3.put_object(Bucket=bucket, Key="page.html", Body=b"<p>")
    assert s3.head_object(Bucket=bucket, Key="page.html")["ContentType"] == "binary/octet-stream"


def test_overwrite(s3, server, bucket):
    for body in (b"first, and longer", b"second"):
        s3.put_object(Bucket=bucket, Key=KEY, Body=body)
        assert read(s3, bucket) == server.path(bucket, KEY).read_bytes() == body


def test_delete_removes_the_file_and_empty_parents(s3, server, bucket):
    s3.put_object(Bucket=bucket, Key="a/b/c", Body=b"1")
    s3.put_object(Bucket=bucket, Key="a/d", Body=b"2")
    s3.delete_object(Bucket=bucket, Key="a/b/c")
    assert not server.path(bucket, "a/b").exists()
    assert server.path(bucket, "a/d").read_bytes() == b"2"
    s3.delete_object(Bucket=bucket, Key="a/b/c")
    check_refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="a/b/c")
    check_refused("404", 404, s3.head_object, Bucket=bucket, Key="a/b/c")


def test_delete_objects(s3, server, bucket):
    keys = [f"many/{index}&<>" for index in range(20)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    asked = [{"Key": key} for key in [*keys[1:], "never/there"]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": asked})
    assert sorted(row["Key"] for row in answer["Deleted"]) == sorted(row["Key"] for row in asked)
    assert "Errors" not in answer
    assert list(trees.files(server.path(bucket))) == [keys[0]]


def test_write_only_when_absent(s3, server, bucket):
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"first", IfNoneMatch="*")
    check_refused("PreconditionFailed", 412, s3.put_object, Bucket=bucket, Key=KEY, Body=b"second", IfNoneMatch="*")
    assert server.path(bucket, KEY).read_bytes() == b"first"


def test_write_only_over_the_known_version(s3, server, bucket):
    check_refused("NoSuchKey", 404, s3.put_object, Bucket=bucket, Key=KEY, Body=b"x", IfMatch='"0"')
    etag = s3.put_object(Bucket=bucket, Key=KEY, Body=b"first")["ETag"]
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"second", IfMatch=etag)
    check_refused("PreconditionFailed", 412, s3.put_object, Bucket=bucket, Key=KEY, Body=b"third", IfMatch=etag)
    assert server.path(bucket, KEY).read_bytes() == b"second"


def test_conditional_reads(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key=KEY, Body=b"body")
    moment = s3.head_object(Bucket=bucket, Key=KEY)["LastModified"]
    assert read(s3, bucket, IfMatch=put["ETag"]) == b"body"
    check_refused("304", 304, s3.get_object, Bucket=bucket, Key=KEY, IfNoneMatch=put["ETag"])
    check_refused("304", 304, s3.get_object, Bucket=bucket, Key=KEY, IfModifiedSince=moment)
    check_refused("PreconditionFailed", 412, s3.get_object, Bucket=bucket, Key=KEY, IfMatch='"0"')


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_checksum_is_verified_stored_and_returned(s3, server, bucket, algorithm):
    body = trees.content(algorithm, 2 * trees.MIB + 3)
    want = base64.b64encode(CHECKSUMS[algorithm](body)).decode()
    name = f"Checksum{algorithm}"
    # The algorithm alone makes a trailer behind an aws-chunked body, the value a header.
    for asked in ({"ChecksumAlgorithm": algorithm}, {name: want}):
        assert s3.put_object(Bucket=bucket, Key=KEY, Body=body, **asked)[name] == want
        assert server.path(bucket, KEY).read_bytes() == body
        assert s3.head_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")[name] == want
        assert read(s3, bucket, ChecksumMode="ENABLED") == body


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_wrong_checksum_publishes_nothing(s3, server, bucket, algorithm):
    wrong = {f"Checksum{algorithm}": base64.b64encode(CHECKSUMS[algorithm](b"other")).decode()}
    check_refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key=KEY, Body=b"body", **wrong)
    assert trees.files(server.path(bucket)) == {}


def test_wrong_md5_publishes_nothing(s3, server, bucket):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    check_refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key=KEY, Body=b"body", ContentMD5=wrong)
    assert trees.files(server.path(bucket)) == {}


def test_presigned_get_and_put(s3, server, bucket):
    names = {"Bucket": bucket, "Key": KEY}
    url = s3.generate_presigned_url("put_object", names)
    # Without a type urllib calls it a form.
    typed = {"Content-Type": "application/octet-stream"}
    put = urllib.request.Request(url, data=b"presigned", method="PUT", headers=typed)
    with urllib.request.urlopen(put) as answer:
        assert answer.status == 200
    assert server.path(bucket, KEY).read_bytes() == b"presigned"
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", names)) as answer:
        assert answer.read() == b"presigned"
    changed = s3.generate_presigned_url("get_object", names).replace("X-Amz-Expires=3600", "X-Amz-Expires=3601")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(changed)
    assert caught.value.code == 403 and b"<Code>SignatureDoesNotMatch</Code>" in caught.value.read()


def test_virtual_hosted_style_through_the_absolute_form(connect, server, bucket):
    # The server as its own proxy: requests name `http://BUCKET.DOMAIN/KEY` whole, and no name is resolved.
    by_host = {"s3": {"addressing_style": "virtual"}, "proxies": {"http": server.endpoint}}
    s3 = connect(endpoint=f"http://{ringway.DOMAIN}", **by_host)
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"by host")
    assert server.path(bucket, KEY).read_bytes() == b"by host"
    assert read(s3, bucket) == b"by host"


def test_wrong_keys_are_refused(connect, server, bucket):
    put = {"Bucket": bucket, "Key": KEY, "Body": b"body"}
    check_refused("SignatureDoesNotMatch", 403, connect(secret_key="wrong").put_object, **put)
    check_refused("InvalidAccessKeyId", 403, connect(access_key="AKIANOBODY0000000000").put_object, **put)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.endpoint}/{bucket}")
    assert caught.value.code == 403 and b"<Code>AccessDenied</Code>" in caught.value.read()
    assert trees.files(server.path(bucket)) == {}


def test_files_of_posix_are_objects(s3, server, bucket):
    trees.write(server.path(bucket, "made/by/hand.txt"), b"posix")
    answer = s3.get_object(Bucket=bucket, Key="made/by/hand.txt")
    assert answer["Body"].read() == b"posix"
    assert answer["ContentType"] == "text/plain"
    assert answer["ETag"].endswith('-1"')


def test_an_edit_by_posix_leaves_no_stale_digest(s3, server, bucket):
    etag = s3.put_object(Bucket=bucket, Key=KEY, Body=b"before")["ETag"]
    server.path(bucket, KEY).write_bytes(b"after it")
    answer = s3.get_object(Bucket=bucket, Key=KEY)
    assert answer["Body"].read() == b"after it"
    assert answer["ETag"] != etag and answer["ETag"].endswith('-1"')


@pytest.mark.parametrize("key", ["a/../b", "a//b", "n" * 256])
def test_keys_that_are_no_path_are_refused(s3, server, bucket, key):
    check_refused("InvalidArgument", 400, s3.put_object, Bucket=bucket, Key=key, Body=b"body")
    check_refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key=key)
    assert trees.files(server.path(bucket)) == {}
