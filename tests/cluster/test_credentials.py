"""A server that checks who asks: wrong keys, and a bucket that may be read only."""

import json
import os

import boto3
import pytest
import requests

from lungfield.cluster import stores
from lungfield.errors import DataError, OutputError

READS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}],
}


@pytest.fixture
def reader(s3, monkeypatch):
    """Credentials of a user who may read and not write, on a server that checks it."""
    iam = boto3.client("iam")
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=json.dumps(READS))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    address = os.environ["AWS_ENDPOINT_URL"]
    requests.post(f"{address}/moto-api/reset-auth", data="0", timeout=30)
    yield lambda key_id=key["AccessKeyId"], secret=key["SecretAccessKey"]: use(monkeypatch, key_id, secret)
    requests.post(f"{address}/moto-api/reset-auth", data="inf", timeout=30)
    stores.filesystem_of.cache_clear()


def use(monkeypatch, key_id, secret):
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    stores.filesystem_of.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


def test_wrong_credentials_and_a_bucket_without_write_access(
    inputs, tmp_path, bucket, upload, in_shards, reader
):
    with_all = dict(os.environ)
    requests.post(f"{with_all['AWS_ENDPOINT_URL']}/moto-api/reset-auth", data="inf", timeout=30)
    upload(inputs, bucket, "in")
    requests.post(f"{with_all['AWS_ENDPOINT_URL']}/moto-api/reset-auth", data="0", timeout=30)
    reader("AKIAWRONGWRONGWRONGX", "wrong-secret")
    with pytest.raises(DataError, match=f"s3://{bucket}.*access is refused.*credentials") as found:
        in_shards(f"s3://{bucket}/in", tmp_path / "out")
    assert "WRONG" not in str(found.value)
    reader()
    with pytest.raises(OutputError, match=rf"s3://{bucket}/out.*access is refused.*write there"):
        in_shards(f"s3://{bucket}/in", f"s3://{bucket}/out")
