"""boto3 and multipart uploads: the transfer manager, parts by hand in every order and size, and what is refused."""

import base64
import hashlib

import pytest
from boto3.s3.transfer import TransferConfig

import trees
from test_boto3_objects import check_refused

KEY = "deep/er/upload.bin"
PART = 5 * trees.MIB

# The classic manager: the other one ignores the endpoint.
TRANSFER = TransferConfig(
    multipart_threshold=8 * trees.MIB,
    multipart_chunksize=8 * trees.MIB,
    max_concurrency=4,
    preferred_transfer_client="classic",
)


class Upload:
    """One multipart upload by hand."""

    def __init__(self, s3, bucket, **arguments):
        self.s3 = s3
        self.names = {"Bucket": bucket, "Key": KEY}
        self.names["UploadId"] = s3.create_multipart_upload(**self.names, **arguments)["UploadId"]
        self.rows = {}

    def put(self, number, body):
        answer = self.s3.upload_part(**self.names, PartNumber=number, Body=body)
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"}
        self.rows[number] = {"PartNumber": number, "ETag": answer["ETag"], **sums}
        return answer

    def complete(self, rows=None):
        rows = [self.rows[number] for number in sorted(self.rows)] if rows is None else rows
        return self.s3.complete_multipart_upload(**self.names, MultipartUpload={"Parts": rows})


def check_uploaded(s3, server, bucket, want):
    assert server.path(bucket, KEY).read_bytes() == want
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == want


def etag_of(parts):
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


def test_transfer_manager(s3, server, bucket, large_file, tmp_path):
    s3.upload_file(str(large_file), bucket, KEY, Config=TRANSFER, ExtraArgs={"Metadata": {"by": "manager"}})
    assert server.path(bucket, KEY).read_bytes() == large_file.read_bytes()
    s3.download_file(bucket, KEY, str(tmp_path / "back"), Config=TRANSFER)
    assert (tmp_path / "back").read_bytes() == large_file.read_bytes()
    head = s3.head_object(Bucket=bucket, Key=KEY)
    assert head["Metadata"] == {"by": "manager"}
    assert head["ETag"].endswith('-13"')


@pytest.mark.parametrize(
    "sizes",
    [
        {1: PART, 2: PART, 3: PART, 4: 1000},
        {4: 1000, 3: PART, 1: PART, 2: PART},
        {1: PART, 2: PART + trees.MIB + 1, 3: PART + 4095, 4: 1},
        {1: PART + 1, 2: PART + 1, 3: PART + 1},
        {7: 10, 2: PART, 5: PART},
        {1: 0},
        {10000: 3 * trees.MIB},
    ],
    ids=["uniform", "last-first", "all-different", "no-multiple-of-4096", "gaps", "one-empty", "highest-number"],
)
def test_parts_in_any_order_and_size(s3, server, bucket, sizes):
    parts = {number: trees.content(number, size) for number, size in sizes.items()}
    upload = Upload(s3, bucket, ContentType="a/b", Metadata={"by": "hand"})
    for number, body in parts.items():
        assert upload.put(number, body)["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    in_order = [parts[number] for number in sorted(parts)]
    assert upload.complete()["ETag"] == etag_of(in_order)
    check_uploaded(s3, server, bucket, b"".join(in_order))
    head = s3.head_object(Bucket=bucket, Key=KEY)
    assert (head["ContentType"], head["Metadata"]) == ("a/b", {"by": "hand"})
    assert head["ETag"] == etag_of(in_order)


def test_list_parts(s3, bucket):
    upload = Upload(s3, bucket)
    for number in (3, 1, 2):
        upload.put(number, trees.content(number, 1000 + number))
    pages = list(s3.get_paginator("list_parts").paginate(**upload.names, PaginationConfig={"PageSize": 2}))
    rows = [(row["PartNumber"], row["Size"], row["ETag"]) for page in pages for row in page["Parts"]]
    assert rows == [(number, 1000 + number, upload.rows[number]["ETag"]) for number in (1, 2, 3)]
    assert len(pages) == 2


def test_a_repeated_part_replaces_the_first(s3, server, bucket):
    upload = Upload(s3, bucket)
    first, second, last = (trees.content(seed, PART) for seed in range(3))
    upload.put(1, first)
    upload.put(2, last)
    upload.put(1, second)
    upload.complete()
    check_uploaded(s3, server, bucket, second + last)


def test_only_the_named_parts_are_taken(s3, server, bucket):
    upload = Upload(s3, bucket)
    parts = {number: trees.content(number, PART) for number in (1, 2, 3)}
    for number, body in parts.items():
        upload.put(number, body)
    upload.complete([upload.rows[1], upload.rows[3]])
    check_uploaded(s3, server, bucket, parts[1] + parts[3])


def test_abort_leaves_nothing(s3, server, bucket):
    upload = Upload(s3, bucket)
    upload.put(1, trees.content(1, PART))
    s3.abort_multipart_upload(**upload.names)
    check_refused("NoSuchUpload", 404, s3.upload_part, **upload.names, PartNumber=2, Body=b"late")
    check_refused("NoSuchUpload", 404, s3.list_parts, **upload.names)
    check_refused("NoSuchUpload", 404, upload.complete)
    assert trees.files(server.path(bucket)) == {}
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_an_unfinished_upload_is_not_seen(s3, server, bucket):
    Upload(s3, bucket).put(1, trees.content(1, PART))
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    check_refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key=KEY)
    assert trees.files(server.path(bucket)) == {}


def test_wrong_completions_are_refused_and_the_upload_lives(s3, server, bucket):
    upload = Upload(s3, bucket)
    parts = [trees.content(seed, PART) for seed in (1, 2)]
    for number, body in enumerate(parts, start=1):
        upload.put(number, body)
    first, second = upload.rows[1], upload.rows[2]
    missing, wrong = {**first, "PartNumber": 3}, {**first, "ETag": second["ETag"]}
    check_refused("InvalidPartOrder", 400, upload.complete, rows=[second, first])
    check_refused("InvalidPart", 400, upload.complete, rows=[first, missing])
    check_refused("InvalidPart", 400, upload.complete, rows=[wrong, second])
    assert trees.files(server.path(bucket)) == {}
    upload.complete()
    check_uploaded(s3, server, bucket, b"".join(parts))


def test_parts_that_are_too_small_are_refused(s3, bucket):
    upload = Upload(s3, bucket)
    upload.put(1, trees.content(1, PART - 1))
    upload.put(2, b"last")
    check_refused("EntityTooSmall", 400, upload.complete)


@pytest.mark.parametrize("number", [0, 10001])
def test_part_numbers_end_at_ten_thousand(s3, bucket, number):
    check_refused("InvalidArgument", 400, Upload(s3, bucket).put, number=number, body=b"x")


def test_a_retried_completion_answers_the_same(s3, server, bucket):
    upload = Upload(s3, bucket)
    body = trees.content(1, PART)
    upload.put(1, body)
    assert upload.complete()["ETag"] == upload.complete()["ETag"] == etag_of([body])
    check_uploaded(s3, server, bucket, body)


def test_checksum_of_checksums(s3, server, bucket):
    upload = Upload(s3, bucket, ChecksumAlgorithm="SHA256")
    parts = [trees.content(1, PART), b"last"]
    for number, body in enumerate(parts, start=1):
        answer = s3.upload_part(**upload.names, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")
        want = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert answer["ChecksumSHA256"] == want
        upload.rows[number] = {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": want}
    digests = b"".join(hashlib.sha256(body).digest() for body in parts)
    want = f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-2"
    assert upload.complete()["ChecksumSHA256"] == want
    assert s3.head_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")["ChecksumSHA256"] == want
    check_uploaded(s3, server, bucket, b"".join(parts))
