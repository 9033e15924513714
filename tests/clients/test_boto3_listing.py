"""boto3 and buckets: both listings with prefix, delimiter and pages, directory objects, making and removing buckets."""

import pytest

import trees
from test_boto3_objects import check_refused

# '-' sorts before '/', '0' behind it: the order of whole keys is not the order of directory entries.
KEYS = sorted(["a-b", "a/b", "a/c/d", "a/c/e", "a0", "b/x y&z+", "b/ü", "z"], key=str.encode)


@pytest.fixture
def listed_bucket(s3, bucket):
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


@pytest.fixture(params=["list_objects", "list_objects_v2"])
def listing(s3, request):
    """Every page of a listing: keys and common prefixes, and how many pages there were."""

    def pages(**arguments):
        found = list(s3.get_paginator(request.param).paginate(**arguments))
        keys = [row["Key"] for page in found for row in page.get("Contents", [])]
        prefixes = [row["Prefix"] for page in found for row in page.get("CommonPrefixes", [])]
        return keys, prefixes, len(found)

    return pages


@pytest.mark.parametrize(
    "arguments, keys, prefixes",
    [
        ({}, KEYS, []),
        ({"Delimiter": "/"}, ["a-b", "a0", "z"], ["a/", "b/"]),
        ({"Prefix": "a/"}, ["a/b", "a/c/d", "a/c/e"], []),
        ({"Prefix": "a/", "Delimiter": "/"}, ["a/b"], ["a/c/"]),
        ({"Prefix": "a", "Delimiter": "/"}, ["a-b", "a0"], ["a/"]),
        ({"Prefix": "a/c"}, ["a/c/d", "a/c/e"], []),
        ({"Prefix": "nothing"}, [], []),
        ({"Prefix": "a//"}, [], []),
        ({"Delimiter": "c/"}, ["a-b", "a/b", "a0", *KEYS[5:]], ["a/c/"]),
    ],
)
def test_prefix_and_delimiter(listing, listed_bucket, arguments, keys, prefixes):
    assert listing(Bucket=listed_bucket, **arguments) == (keys, prefixes, 1)


@pytest.mark.parametrize("size, pages", [(1, 8), (3, 3), (8, 1), (1000, 1)])
def test_pages(listing, listed_bucket, size, pages):
    assert listing(Bucket=listed_bucket, PaginationConfig={"PageSize": size}) == (KEYS, [], pages)


def test_pages_of_common_prefixes(listing, listed_bucket):
    paged = {"Delimiter": "/", "PaginationConfig": {"PageSize": 1}}
    assert listing(Bucket=listed_bucket, **paged) == (["a-b", "a0", "z"], ["a/", "b/"], 5)


def test_start_after(s3, listed_bucket):
    answer = s3.list_objects_v2(Bucket=listed_bucket, StartAfter="a/c/d")
    assert [row["Key"] for row in answer["Contents"]] == KEYS[KEYS.index("a/c/e") :]
    assert answer["KeyCount"] == len(answer["Contents"])


def test_rows_agree_with_head(s3, listed_bucket):
    for row in s3.list_objects_v2(Bucket=listed_bucket)["Contents"]:
        head = s3.head_object(Bucket=listed_bucket, Key=row["Key"])
        assert (row["ETag"], row["Size"]) == (head["ETag"], head["ContentLength"])
        assert row["LastModified"] == head["LastModified"]
        assert row["StorageClass"] == "STANDARD"


def test_a_deleted_key_leaves_no_prefix(s3, listing, bucket):
    s3.put_object(Bucket=bucket, Key="gone/deep/key", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="gone/deep/key")
    assert listing(Bucket=bucket, Delimiter="/") == ([], [], 1)


def test_directory_object(s3, server, listing, bucket):
    s3.put_object(Bucket=bucket, Key="dir/", Body=b"", Metadata={"kind": "folder"})
    s3.put_object(Bucket=bucket, Key="dir/file", Body=b"x")
    assert server.path(bucket, "dir").is_dir()
    assert listing(Bucket=bucket) == (["dir/", "dir/file"], [], 1)
    assert s3.head_object(Bucket=bucket, Key="dir/")["Metadata"] == {"kind": "folder"}
    check_refused("404", 404, s3.head_object, Bucket=bucket, Key="dir")
    s3.delete_object(Bucket=bucket, Key="dir/")
    assert listing(Bucket=bucket) == (["dir/file"], [], 1)


def test_buckets(s3, server, new_bucket_name):
    s3.create_bucket(Bucket=new_bucket_name)
    assert server.path(new_bucket_name).is_dir()
    assert new_bucket_name in [row["Name"] for row in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=new_bucket_name)
    assert s3.get_bucket_location(Bucket=new_bucket_name)["LocationConstraint"] is None
    s3.put_object(Bucket=new_bucket_name, Key="a/b", Body=b"x")
    check_refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=new_bucket_name)
    s3.delete_object(Bucket=new_bucket_name, Key="a/b")
    s3.delete_bucket(Bucket=new_bucket_name)
    assert not server.path(new_bucket_name).exists()
    check_refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket=new_bucket_name)
    check_refused("404", 404, s3.head_bucket, Bucket=new_bucket_name)


def test_a_directory_made_by_posix_is_a_bucket(s3, server, listing, new_bucket_name):
    trees.write(server.path(new_bucket_name, "a/b.txt"), b"posix")
    assert new_bucket_name in [row["Name"] for row in s3.list_buckets()["Buckets"]]
    assert listing(Bucket=new_bucket_name) == (["a/b.txt"], [], 1)
